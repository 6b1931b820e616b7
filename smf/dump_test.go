package smf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/testenv"
)

// TestDump lets tshark decode a whole life of an SMF: it is the second opinion on
// every IE that the SMF sends.
func TestDump(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		testenv.Lacks(t, "tshark is missing (Debian package tshark)")
	}
	path := filepath.Join(t.TempDir(), "n4.pcap")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	upf := newFakeUPF(t)
	p := testPolicy()
	r := start(t, upf, p, func(c *Config) { c.Dump = f })
	r.await("settled state", settled)
	p.Sessions[0].Steering.Mode = steer.LoadBalancing
	r.apply(p)
	p.Sessions[0].Accesses[0].Down = true
	r.apply(p)
	p.Sessions[0].Accesses[0].Down = false
	p.Sessions[0].Accesses[1], p.Sessions[0].Accesses[0].Weight = nil, 100
	r.apply(p)
	r.stop()

	decode := func(args ...string) string {
		t.Helper()
		args = append([]string{
			"-r", path, "-d", fmt.Sprintf("udp.port==%d,pfcp", upf.endpoint.LocalAddr().Port()), // not PFCP's port
			"-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE",
		}, args...)
		out, err := exec.CommandContext(t.Context(), tshark, args...).Output()
		if err != nil {
			t.Fatalf("tshark: %v", err)
		}
		return string(out)
	}
	if bad := decode("-V", "-Y", "!pfcp || _ws.malformed || _ws.expert || pfcp.ie_data_not_decoded || pfcp.ie_not_decoded_null || pfcp.ie_not_decoded"); bad != "" {
		t.Errorf("tshark finds fault with:\n%s", bad)
	}
	fields := []string{"-T", "fields", "-E", "separator=;"}
	for _, f := range []string{
		"msg_type", "pdr_id", "far_id", "qer_id", "tgpp_interface_type", "mar_id", "steering_functionality", "steering_mode", "priority", "weight",
	} {
		fields = append(fields, "-e", "pfcp."+f)
	}
	want := `5;;;;;;;;;
6;;;;;;;;;
50;1,2,3,4;1,1,1,2,3,2,3;1,1,1,1,1;11,13;1,1,1;1;0;0,1;
51;1,2;;;;;;;;
52;;;;;1;;2;;70,30
53;;;;;;;;;
52;;2;;;;;;;
53;;;;;;;;;
52;2,3,4;3,2,2;;;2,2,1,2;1;2;;100
53;;;;;;;;;
54;;;;;;;;;
55;;;;;;;;;
9;;;;;;;;;
10;;;;;;;;;
`
	if d := cmp.Diff(want, decode(fields...)); d != "" {
		t.Errorf("what tshark reads (-want +got):\n%s", d)
	}
}

// TestDumpPackets reads a dump back: addresses, checksums and payload.
func TestDumpPackets(t *testing.T) {
	var file bytes.Buffer
	w := &pcapWriter{dst: &file}
	at := time.Unix(1700000000, 123456000)
	v4, peer4 := netip.MustParseAddrPort("10.100.4.2:8805"), netip.MustParseAddrPort("10.100.4.1:8805")
	v6, peer6 := netip.MustParseAddrPort("[fd00::2]:8805"), netip.MustParseAddrPort("[fd00::1]:8805")
	w.trace(true, v4, peer4, []byte("odd"), at)
	w.trace(false, v4, peer4, []byte("even"), at)
	w.trace(true, v6, peer6, []byte("six"), at)

	const header = "\xa1\xb2\xc3\xd4\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x65"
	if got := string(file.Next(len(header))); got != header {
		t.Fatalf("file header %x, want %x", got, header)
	}
	for _, want := range []struct{ from, to, payload string }{
		{"10.100.4.2", "10.100.4.1", "odd"}, {"10.100.4.1", "10.100.4.2", "even"}, {"fd00::2", "fd00::1", "six"},
	} {
		var record struct{ Sec, Micro, Length, Original uint32 }
		if err := binary.Read(&file, binary.BigEndian, &record); err != nil {
			t.Fatal(err)
		}
		if record.Sec != 1700000000 || record.Micro != 123456 || record.Length != record.Original {
			t.Errorf("record %+v", record)
		}
		data := file.Next(int(record.Length))
		first := layers.LayerTypeIPv4
		if data[0]>>4 == 6 {
			first = layers.LayerTypeIPv6
		}
		p := gopacket.NewPacket(data, first, gopacket.Default)
		flow := p.NetworkLayer().NetworkFlow()
		if flow.Src().String() != want.from || flow.Dst().String() != want.to {
			t.Errorf("packet %v, want %s to %s", flow, want.from, want.to)
		}
		udp, ok := p.TransportLayer().(*layers.UDP)
		if !ok || string(udp.Payload) != want.payload {
			t.Fatalf("UDP %+v, want the payload %q", udp, want.payload)
		}
		if err := udp.SetNetworkLayerForChecksum(p.NetworkLayer()); err != nil {
			t.Fatal(err)
		}
		if err, bad := p.VerifyChecksums(); err != nil || len(bad) > 0 {
			t.Errorf("%q: checksums: %v %v", want.payload, err, bad)
		}
	}
}

// brokenDisk fails the second write.
type brokenDisk struct{ writes int }

func (d *brokenDisk) Write(b []byte) (int, error) {
	d.writes++
	if d.writes == 2 {
		return 0, errors.New("disk full")
	}
	return len(b), nil
}

func TestDumpFails(t *testing.T) {
	disk := &brokenDisk{}
	w := &pcapWriter{dst: disk}
	a := netip.MustParseAddrPort("127.0.0.1:1")
	for range 3 {
		w.trace(true, a, a, nil, time.Now())
	}
	if w.failure() == nil || disk.writes != 2 {
		t.Errorf("failure %v after %d writes, want one after 2", w.failure(), disk.writes)
	}
}
