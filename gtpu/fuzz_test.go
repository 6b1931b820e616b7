package gtpu

import (
	"bytes"
	"testing"

	"github.com/wmnsk/go-gtp/gtpv1/message"
)

// FuzzParse feeds hostile datagrams: nothing may panic, offsets must lie inside,
// and what both codecs accept they must read alike. Ours refuses more (version,
// protocol type, mandatory extension headers), so acceptance is compared one way.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"30ff000400000101450000ff",
		"34ff000900000101000000850110090045",
		"34ff000c0000010100000040010868850110050000000000",
		"36ff000800000101000900c001010000",
		"32010004000000000005 0000",
		"361a0014000000000000004001 9c400010000001018500040a640101",
		"30fe000000000201",
		"34ff000c00000101000000c001123485 01100900",
		"34ff001000000101000000820201234500000020 0101000045",
		"34ff001000000101000000410101008401010085 01100500",
	} {
		f.Add(bytesOf(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		var h Header
		r := Parse(b, &h)
		if !bytes.Equal(b, before) {
			t.Fatal("Parse changed its input")
		}
		if r >= NumReasons {
			t.Fatalf("reason %d does not exist", r)
		}
		if r == OK || r == UnknownExtension {
			relay(t, b, &h)
		}
		if r != OK {
			return
		}
		if h.Payload < fixedLen || h.Payload > h.End || h.End > len(b) {
			t.Fatalf("payload [%d:%d] of %d bytes", h.Payload, h.End, len(b))
		}
		if h.Type == ErrorIndication {
			var e ErrorInd
			if ParseErrorIndication(b, &h, &e) == OK {
				reemit(t, e)
			}
		}
		compare(t, b, &h)
	})
}

// reemit checks that an Error Indication survives being written and read.
func reemit(t *testing.T, e ErrorInd) {
	b := AppendErrorIndication(nil, e)
	var h Header
	if r := Parse(b, &h); r != OK {
		t.Fatalf("%+v: emitted message refused: %v", e, r)
	}
	var got ErrorInd
	if r := ParseErrorIndication(b, &h, &got); r != OK || got.TEID != e.TEID || got.SrcPort != e.SrcPort || got.Peer.Unmap() != e.Peer.Unmap() {
		t.Fatalf("%+v became %+v (%v)", e, got, r)
	}
}

// relay checks that what is handed on comes out as it went in.
func relay(t *testing.T, b []byte, h *Header) {
	var x, y Extensions
	if !x.Take(b, h) {
		if h.Payload-optionalLen <= maxExtensions {
			t.Fatalf("%d bytes of extension headers do not fit", h.Payload-optionalLen)
		}
		return
	}
	n := x.GPDUHeaderLen(h.QFI)
	out := append(make([]byte, n), b[h.Payload:h.End]...)
	if len(out)-fixedLen > 0xffff {
		return
	}
	x.PutGPDU(out, h.TEID, h.End-h.Payload, h.PDUType, h.QFI, h.RQI)
	var got Header
	if r := Parse(out, &got); r != OK && r != UnknownExtension {
		t.Fatalf("%x became %x: %v", b, out, r)
	}
	if got.TEID != h.TEID || got.Payload != n || got.End != len(out) || got.QFI != h.QFI || got.Unknown != h.Unknown ||
		got.RQI != h.RQI && h.QFI != 0 || got.HasUDPPort || got.HasOther != (x.n > 0) {
		t.Fatalf("%x became %x", b, out)
	}
	if !y.Take(out, &got) || y.n != x.n || !bytes.Equal(y.bytes[:y.n], x.bytes[:x.n]) || x.n > 0 && x.first != y.first {
		t.Fatalf("%x became %x: other extension headers", b, out)
	}
}

// compare checks h against what the oracle reads from b.
func compare(t *testing.T, b []byte, h *Header) {
	o, err := message.ParseHeader(b)
	if err != nil {
		// E set with type 0 behind it: the oracle wants an extension header
		// all the same.
		if b[0]&flagE != 0 && b[optionalLen-1] == 0 {
			return
		}
		t.Fatalf("accepted here, refused by the oracle: %v", err)
	}
	if b[0]&flagE != 0 && b[optionalLen-1] == 0 {
		return
	}
	if o.TEID != h.TEID || o.Type != uint8(h.Type) || !bytes.Equal(o.Payload, b[h.Payload:h.End]) {
		t.Fatalf("got %+v, oracle %v", h, o)
	}
	if h.HasSN && o.SequenceNumber != h.SN {
		t.Fatalf("SN %d, oracle %d", h.SN, o.SequenceNumber)
	}
	for _, e := range o.ExtensionHeaders {
		if ExtensionType(e.Type) == PDUSessionContainer && !h.HasContainer {
			t.Fatal("the oracle sees a PDU Session Container")
		}
	}
}
