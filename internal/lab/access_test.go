package lab_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/wmnsk/go-gtp/gtpv1/ie"
	"github.com/wmnsk/go-gtp/gtpv1/message"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/smf"
)

func TestLabAccessAnswersGTPU(t *testing.T) {
	l := up(t, "labtest-gtpu", lab.Options{})
	conn := dialUDP(t, l, lab.UPF, lab.UPFN3Addr, netip.MustParseAddrPort("10.100.1.2:2152"))
	defer conn.Close()
	exchange := func(datagram []byte, wait time.Duration) []byte {
		t.Helper()
		if _, err := conn.Write(datagram); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 2048)
		n, err := conn.Read(buf)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		return buf[:n]
	}
	echo, err := message.NewEchoRequest(0x4711, ie.NewRecovery(0)).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	m, err := message.ParseEchoResponse(exchange(echo, 2*time.Second))
	if err != nil || m.Sequence() != 0x4711 {
		t.Errorf("answer to an echo request: %+v, %v", m, err)
	}
	unknown := downlinkDatagram(100)
	unknown[7]++ // TEID
	endMarker := []byte{0x30, 254, 0, 0, 0, 0, 1, 1}
	errorIndication, err := message.NewErrorIndication(0, 0, ie.NewTEIDDataI(7), ie.NewGSNAddress("10.100.1.2")).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range [][]byte{unknown, endMarker, errorIndication, {0x30, 255, 9}, {0x30, 31, 0, 0, 0, 0, 0, 0}} {
		if _, err := conn.Write(d); err != nil {
			t.Fatal(err)
		}
	}
	// The answer shows that what was sent before it has been taken.
	if len(exchange(echo, 2*time.Second)) == 0 {
		t.Error("no answer to the second echo request")
	}
	s := stats(t, l, steer.Access3GPP)
	got := []uint64{s.Echo, s.UnknownTEID, s.EndMarkers, s.Errors, s.Down.Malformed, s.Other, s.Down.Packets}
	if want := []uint64{2, 1, 1, 1, 1, 1, 0}; !slices.Equal(got, want) {
		t.Errorf("counters %v, want %v: %+v", got, want, s)
	}
	if err := l.Link(steer.Access3GPP, lab.Impairment{Down: true}); err != nil {
		t.Fatal(err)
	}
	if b := exchange(echo, 200*time.Millisecond); len(b) != 0 {
		t.Errorf("an access that is down answered an echo request with % x", b)
	}
}

// The uplink tunnel is what the smf's state file says, also after a change.
func TestLabAccessFollowsTheSMF(t *testing.T) {
	l := up(t, "labtest-follow", lab.Options{})
	for _, teid := range []uint32{0x1234, 0xabcd0001} {
		state := smf.State{Association: smf.Up, Sessions: []smf.SessionState{{Name: "lab", UPSEID: "0x1", Uplink: []smf.Tunnel{
			{Access: "3gpp", TEID: fmt.Sprintf("%#x", teid), Address: "10.100.1.1"},
			{Access: "non-3gpp", TEID: fmt.Sprintf("%#x", teid+1), Address: "10.100.1.1"},
		}}}}
		b, err := json.Marshal(&state)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(l.Dir(), "smf.json")
		if err := os.WriteFile(file+".new", b, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
		for a := range steer.Access(steer.NumAccesses) {
			want := lab.Tunnel{TEID: teid + uint32(a), Peer: lab.UPFN3Addr}
			var s lab.Stats
			for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
				if s = stats(t, l, a); s.Tunnel != nil && *s.Tunnel == want {
					break
				}
			}
			if s.Tunnel == nil || *s.Tunnel != want {
				t.Errorf("%v uses tunnel %v, the smf's state has %v", a, s.Tunnel, want)
			}
		}
	}
}
