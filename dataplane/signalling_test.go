package dataplane

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/braid-upf/braid/atsss/proxy"
	"github.com/braid-upf/braid/gtpu"
)

func TestEcho(t *testing.T) {
	f := newFixture(t, 2)
	from := netip.MustParseAddrPort("10.100.1.2:40000")
	f.n3(from, gtpu.AppendEchoRequest(nil, 0x1234))
	got := f.oneN3()
	// TS 29.281 §7.2.2: to the port that the request came from.
	if want := gtpu.AppendEchoResponse(nil, 0x1234); !bytes.Equal(got.Bytes, want) || got.Peer != from || got.Local != upf4 {
		t.Errorf("got %x to %v from %v", got.Bytes, got.Peer, got.Local)
	}
	f.counted(map[string]uint64{"echo_requests_received": 1, "n3_sent_packets": 1, "n3_sent_bytes": 14})
}

func TestUnknownTEID(t *testing.T) {
	f := newFixture(t, 2, testRules())
	from := netip.MustParseAddrPort("10.100.1.2:40000")
	f.n3(from, gpdu(0x2a000077, 9, udp(ue1, server, 1, 2, 100)))
	got := f.oneN3()
	want := gtpu.AppendErrorIndication(nil, gtpu.ErrorInd{TEID: 0x2a000077, Peer: upf4, SrcPort: 40000})
	if !bytes.Equal(got.Bytes, want) || got.Peer != gnb || got.Local != upf4 {
		t.Errorf("got %x to %v from %v, want %x to %v", got.Bytes, got.Peer, got.Local, want, gnb)
	}
	f.counted(map[string]uint64{
		"drop_unknown_teid": 1, "error_indications_sent": 1, "n3_sent_packets": 1, "n3_sent_bytes": uint64(len(want)),
	})

	f.n3(from, gpdu(0, 9, udp(ue1, server, 1, 2, 100)))
	f.nothing() // TS 29.281 §7.3.1: none for a TEID of all zeros
	f.counted(map[string]uint64{"drop_unknown_teid": 1})

	f.n3(from, []byte{0x30, byte(gtpu.EndMarker), 0, 0, 0x2a, 0, 0, 0x77})
	f.nothing() // §7.3.2: ignored
	f.counted(map[string]uint64{"end_markers_received": 1})
}

// TestErrorIndicationLimit: however many G-PDUs with unknown TEIDs come, the answers
// are few.
func TestErrorIndicationLimit(t *testing.T) {
	f := newFixture(t, 1)
	w := f.plane.workers[0]
	w.limit = limiter{tokens: 2, filled: f.plane.clock() + 1e12}
	for range 5 {
		f.n3(gnb, gpdu(0x77, 0, udp(ue1, server, 1, 2, 0)))
	}
	if n3, _ := f.sent(); len(n3) != 2 {
		t.Errorf("%d Error Indications, want 2", len(n3))
	}
	f.counted(map[string]uint64{
		"drop_unknown_teid": 5, "error_indications_sent": 2, "notifications_rate_limited": 3, "n3_sent_packets": 2, "n3_sent_bytes": 56,
	})
}

func TestLimiter(t *testing.T) {
	var l limiter
	count := func(now proxy.Time, tries int) (n int) {
		for range tries {
			if l.take(now) {
				n++
			}
		}
		return n
	}
	for _, tc := range []struct {
		now   proxy.Time
		tries int
		want  int
	}{
		{0, 10, 0},
		{notifyInterval - 1, 10, 0},
		{notifyInterval, 10, 1},
		{notifyInterval*2 + 5, 10, 1},
		{notifyInterval*3 - 1, 10, 0}, // what was left over is not lost, nor counted twice
		{notifyInterval * 3, 10, 1},
		{1e12, 1000, notifyBurst},
		{1e12, 1, 0},
	} {
		if got := count(tc.now, tc.tries); got != tc.want {
			t.Errorf("at %d: %d of %d tries, want %d", tc.now, got, tc.tries, tc.want)
		}
	}
}

func TestUnknownExtension(t *testing.T) {
	f := newFixture(t, 1, testRules())
	b := gpdu(teid3GPP, 9, udp(ue1, server, 1, 2, 0))
	b[11] = 0xc1 // the upper comprehension bit is set
	f.n3(gnb, b)
	got := f.oneN3()
	if want := gtpu.AppendSupportedExtensions(nil, 0); !bytes.Equal(got.Bytes, want) || got.Peer != gnb {
		t.Errorf("got %x to %v, want %x", got.Bytes, got.Peer, want)
	}
	f.counted(map[string]uint64{
		"drop_n3_gtpu_unknown_extension": 1, "extension_notifications_sent": 1, "n3_sent_packets": 1, "n3_sent_bytes": 18,
	})
	// A notification that has one itself is not answered: two of them would
	// never come to rest.
	b = gtpu.AppendSupportedExtensions(nil, 0)
	b[0] |= 1 << 2
	b[11] = 0xc1
	b = append(b[:12:12], 1, 0, 0, 0, 0x8d, 0)
	b[3] = byte(len(b) - 8)
	f.n3(gnb, b)
	f.nothing()
	f.counted(map[string]uint64{"drop_n3_gtpu_unknown_extension": 1})
}

func TestErrorIndicationReceived(t *testing.T) {
	f := newFixture(t, 2, testRules())
	m := gtpu.AppendErrorIndication(nil, gtpu.ErrorInd{TEID: gnbTEID, Peer: gnb.Addr()})
	f.n3(gnb, m)
	f.nothing()
	f.counted(map[string]uint64{"error_indications_received": 1})
	select {
	case got := <-f.plane.Events():
		want := Event{Kind: ErrorIndicationReceived, From: gnb, TEID: gnbTEID, Peer: gnb.Addr()}
		if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
			cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
			t.Error(d)
		}
	default:
		t.Error("no event")
	}
	f.n3(gnb, m[:12]) // header length says more
	f.counted(map[string]uint64{"drop_n3_gtpu_bad_length": 1})
	m[12] = 99
	f.n3(gnb, m)
	f.counted(map[string]uint64{"drop_n3_gtpu_bad_element": 1})
	m[12] = 16
	for range cap(f.plane.events) + 3 {
		f.n3(gnb, m)
	}
	f.counted(map[string]uint64{"error_indications_received": uint64(cap(f.plane.events) + 3), "events_lost": 3})
}

func TestOtherMessages(t *testing.T) {
	f := newFixture(t, 1)
	for name, m := range map[string][]byte{
		"echo_responses_received":          gtpu.AppendEchoResponse(nil, 1),
		"extension_notifications_received": gtpu.AppendSupportedExtensions(nil, 1),
		"drop_message_type":                {0x30, 3, 0, 0, 0, 0, 0, 0},
	} {
		f.n3(gnb, m)
		f.nothing()
		f.counted(map[string]uint64{name: 1})
	}
}
