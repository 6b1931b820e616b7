package mptcp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// meaning is all that o says, without the fields that are not valid.
func meaning(o *Options) string {
	var s strings.Builder
	if o.Present&Capable != 0 {
		fmt.Fprintf(&s, "MP_CAPABLE version %d length %d", o.CapableVersion, o.CapableLen)
		if o.CapableVersion == Version {
			fmt.Fprintf(&s, " flags %02x", o.CapableFlags)
			if o.CapableLen >= 12 {
				fmt.Fprintf(&s, " sender %016x", o.SenderKey)
			}
			if o.CapableLen >= 20 {
				fmt.Fprintf(&s, " receiver %016x", o.ReceiverKey)
			}
			if o.CapableLen >= 22 {
				fmt.Fprintf(&s, " data %d", o.CapableDataLen)
			}
			if o.CapableLen == 24 {
				fmt.Fprintf(&s, " checksum %04x", o.CapableCsum)
			}
		}
		s.WriteByte('\n')
	}
	if o.Present&Join != 0 {
		switch o.JoinLen {
		case 12:
			fmt.Fprintf(&s, "MP_JOIN SYN backup %v ID %d token %08x nonce %08x\n", o.JoinBackup, o.JoinID, o.JoinToken, o.JoinNonce)
		case 16:
			fmt.Fprintf(&s, "MP_JOIN SYN/ACK backup %v ID %d HMAC %x nonce %08x\n", o.JoinBackup, o.JoinID, o.JoinHMAC[:8], o.JoinNonce)
		case 24:
			fmt.Fprintf(&s, "MP_JOIN ACK HMAC %x\n", o.JoinHMAC)
		}
	}
	if o.Present&DSS != 0 {
		s.WriteString("DSS")
		if o.HasDataAck {
			fmt.Fprintf(&s, " ack %x wide %v", o.DataAck, o.DataAck64)
		}
		if o.HasMapping {
			fmt.Fprintf(&s, " DSN %x wide %v SSN %d length %d FIN %v", o.DSN, o.DSN64, o.SSN, o.DataLen, o.DataFIN)
			if o.HasCsum {
				fmt.Fprintf(&s, " checksum %04x", o.Csum)
			}
		}
		s.WriteByte('\n')
	}
	if o.Present&AddAddr != 0 {
		addr, port, mac := addAddrFields(o)
		fmt.Fprintf(&s, "ADD_ADDR echo %v ID %d address %x port %d HMAC %x\n", o.AddAddrEcho, o.AddAddrRaw[3], addr, port, mac)
	}
	if o.Present&RemoveAddr != 0 {
		fmt.Fprintf(&s, "REMOVE_ADDR %d\n", o.RemovedIDs[:o.RemovedCount])
	}
	if o.Present&Prio != 0 {
		fmt.Fprintf(&s, "MP_PRIO backup %v\n", o.PrioBackup)
	}
	if o.Present&Fail != 0 {
		fmt.Fprintf(&s, "MP_FAIL DSN %016x\n", o.FailDSN)
	}
	if o.Present&FastClose != 0 {
		fmt.Fprintf(&s, "MP_FASTCLOSE key %016x\n", o.FastCloseKey)
	}
	if o.Present&TCPRST != 0 {
		fmt.Fprintf(&s, "MP_TCPRST reason %d\n", o.ResetReason)
	}
	return s.String()
}

// FuzzParse feeds hostile TCP options. Nothing may panic or touch the input; what
// was left by an earlier segment has no influence; what is read survives being
// written and read again; and gopacket agrees on each option.
func FuzzParse(f *testing.F) {
	for _, c := range captures {
		f.Add(c.block(f))
	}
	stale := stale(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		var o Options
		ok := Parse(b, &o)
		if !bytes.Equal(b, before) {
			t.Fatal("Parse changed its input")
		}
		said := meaning(&o)

		used := stale
		if Parse(b, &used) != ok || meaning(&used) != said {
			t.Fatalf("after another segment:\n%sinstead of\n%s", meaning(&used), said)
		}

		if o.Present&Capable != 0 && o.CapableVersion != Version {
			o.Present &^= Capable
			said = meaning(&o)
		}
		var again Options
		out := appendAll(nil, &o)
		if !Parse(out, &again) {
			t.Fatalf("%x: written options are malformed", out)
		}
		if meaning(&again) != said {
			t.Fatalf("written as %x:\n%sinstead of\n%s", out, meaning(&again), said)
		}
		compare(t, b)
	})
}

// stale is an Options in which every field has been used.
func stale(f *testing.F) (o Options) {
	for _, c := range captures {
		for b := bytesOf(f, c.option); len(b) > 0; b = b[b[1]:] {
			o.Present = 0
			o.ParseOption(b[:b[1]])
		}
	}
	o.Present = ^Set(0)
	return o
}

// TestGopacketReadsCaptures: the second opinion is one, on every capture.
func TestGopacketReadsCaptures(t *testing.T) {
	for _, c := range captures {
		if compare(t, c.block(t)) == 0 {
			t.Errorf("%s: gopacket sees no MPTCP option", c.name)
		}
	}
}

// compare reads each option that gopacket finds among the TCP options b with both,
// and returns how many it was.
func compare(t *testing.T, b []byte) (n int) {
	if len(b) > maxOptionBytes {
		return 0
	}
	segment := make([]byte, 20, 60)
	segment = append(segment, b...)
	segment = append(segment, make([]byte, -len(b)&3)...)
	segment[12] = byte(len(segment) / 4 << 4)
	var tcp layers.TCP
	if err := tcp.DecodeFromBytes(segment, gopacket.NilDecodeFeedback); err != nil {
		t.Fatalf("gopacket: %v", err)
	}
	for i := range tcp.Options {
		his := &tcp.Options[i]
		if his.OptionType != Kind {
			continue
		}
		n++
		raw := slices.Concat([]byte{Kind, his.OptionLength}, his.OptionData)
		if knownToDiffer(raw) {
			continue
		}
		var o Options
		o.ParseOption(raw)
		if o.Present == 0 {
			t.Fatalf("%x: gopacket accepts it, we do not", raw)
		}
		if ours, his := meaning(&o), gopacketMeaning(his); ours != his {
			t.Fatalf("%x: we read\n%sgopacket reads\n%s", raw, ours, his)
		}
	}
	return n
}

// knownToDiffer names the options that gopacket reads by version 0 or reads laxly.
func knownToDiffer(b []byte) bool {
	subtype, low := Set(1)<<(b[2]>>4), b[2]&0xf
	switch subtype {
	case Capable:
		return low != Version
	case AddAddr:
		return low > 1 // version 0 has the IP version here; for us reserved bits, ignored
	case RemoveAddr:
		return len(b) == 3 || len(b) > 3+maxRemovedAddrs
	case Prio:
		return len(b) == 4 // version 0: with an address ID
	default:
		return subtype > TCPRST
	}
}

// gopacketMeaning says like [meaning] what gopacket read.
func gopacketMeaning(p *layers.TCPOption) string {
	var o Options
	switch {
	case p.OptionMPTCPMpCapable != nil:
		m := p.OptionMPTCPMpCapable
		o = Options{
			Present: Capable, CapableVersion: m.Version, CapableLen: p.OptionLength,
			CapableDataLen: m.DataLength, CapableCsum: m.Checksum,
			SenderKey: Key(wide(m.SendKey)), ReceiverKey: Key(wide(m.ReceivKey)),
		}
		for i, set := range []bool{m.H, m.G, m.F, m.E, m.D, m.C, m.B, m.A} {
			if set {
				o.CapableFlags |= 1 << i
			}
		}
	case p.OptionMPTCPMpJoin != nil:
		m := p.OptionMPTCPMpJoin
		o = Options{
			Present: Join, JoinLen: p.OptionLength, JoinBackup: m.Backup, JoinID: m.AddrID,
			JoinToken: m.ReceivToken, JoinNonce: m.SendRandNum,
		}
		copy(o.JoinHMAC[:], m.SendHMAC)
	case p.OptionMPTCPDss != nil:
		m := p.OptionMPTCPDss
		o = Options{
			Present: DSS, HasDataAck: m.A, DataAck64: len(m.DataAck) == 8, DataAck: wide(m.DataAck),
			HasMapping: m.M, DSN64: len(m.DSN) == 8, DSN: wide(m.DSN), SSN: SSN(m.SSN), DataLen: m.DataLength,
			DataFIN: m.F, Csum: m.Checksum,
			HasCsum: m.M && int(p.OptionLength) == 4+len(m.DataAck)+len(m.DSN)+4+2+2,
		}
	case p.OptionMPTCPAddAddr != nil:
		o = gopacketAddAddr(p.OptionMPTCPAddAddr)
	case p.OptionMTCPRemAddr != nil:
		o = Options{Present: RemoveAddr, RemovedCount: uint8(len(p.OptionMTCPRemAddr.AddrIDs))}
		copy(o.RemovedIDs[:], p.OptionMTCPRemAddr.AddrIDs)
	case p.OptionMPTCPMpPrio != nil:
		o = Options{Present: Prio, PrioBackup: p.OptionMPTCPMpPrio.Backup}
	case p.OptionMTCPMPFail != nil:
		o = Options{Present: Fail, FailDSN: DSN(p.OptionMTCPMPFail.DSN)}
	case p.OptionMTCPMPFastClose != nil:
		o = Options{Present: FastClose, FastCloseKey: Key(wide(p.OptionMTCPMPFastClose.ReceivKey))}
	case p.OptionMPTCPMPTcpRst != nil:
		o = Options{Present: TCPRST, ResetReason: p.OptionMPTCPMPTcpRst.Reason}
	}
	return meaning(&o)
}

// gopacketAddAddr is m with its fields put back into the shape of an option.
func gopacketAddAddr(m *layers.AddAddr) Options {
	raw := append([]byte{Kind, 0, 3 << 4, m.AddrID}, m.Address...)
	if m.Port != 0 {
		raw = binary.BigEndian.AppendUint16(raw, m.Port)
	}
	if !m.E {
		raw = append(raw, m.SendHMAC[:8]...) // its slice runs on to the end of the options
	}
	return Options{Present: AddAddr, AddAddrEcho: m.E, AddAddrRaw: raw}
}

// wide is the big-endian number b of 0, 4 or 8 bytes.
func wide(b []byte) (v uint64) {
	for _, x := range b {
		v = v<<8 | uint64(x)
	}
	return v
}
