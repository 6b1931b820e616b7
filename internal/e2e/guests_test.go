package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
)

// guestsLab is a lab whose SMF knows no MAR and whose UPF has local rules: two plain PDU
// sessions of the UE, one over each access, carry one MPTCP connection. Its UPF has two
// workers.
func guestsLab(t *testing.T) *lab.Lab {
	t.Helper()
	if missing != nil {
		t.Skip(missing)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l, err := lab.Up(ctx, lab.Options{
		Name:     fmt.Sprintf("%s%d-guests", labPrefix, os.Getpid()),
		BraidBin: filepath.Join(bin, "braid"), UPFBin: filepath.Join(bin, "upf"),
		Workers: 2, NoSession: true, DieWithParent: true, Progress: os.Stderr,
		UPFConfig: map[string]any{
			"nonGPP": []string{"10.100.2.0/24"},
			"multiAccess": []map[string]any{
				{"dnn": "standby", "mode": "active-standby", "active": "3gpp"},
				{"dnn": "balance", "mode": "load-balancing", "weights": map[string]int{"3gpp": 50, "non-3gpp": 50}},
			},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// serverConnections are the data network's connections to nginx.
func (f *fixture) serverConnections() (all []string) {
	for _, s := range f.live() {
		if strings.HasPrefix(s, lab.DN+":") && strings.Contains(s, fmt.Sprintf("%v:80 to ", f.server)) {
			all = append(all, s)
		}
	}
	return all
}

// oneAtServer fails the test unless nginx has one connection, with the UE's first address.
func (f *fixture) oneAtServer() {
	f.Helper()
	all := f.serverConnections()
	if len(all) != 1 || !strings.Contains(all[0], fmt.Sprintf(" to %v:", lab.UEAddr[tgpp])) {
		f.Errorf("nginx has connections %v, want one with %v", all, lab.UEAddr[tgpp])
	}
}

// TestGuests: the kernel's MPTCP over two plain PDU sessions, whose homes are one worker or
// two.
func TestGuests(t *testing.T) {
	l := guestsLab(t)
	for _, home := range []struct {
		name string
		same bool
	}{{"one worker", true}, {"two workers", false}} {
		t.Run(home.name, func(t *testing.T) {
			t.Run("balance", func(t *testing.T) { guestsBalance(t, l, home.same) })
			for _, d := range directions {
				t.Run("standby-"+d.name, func(t *testing.T) { guestsStandby(t, l, home.same, d) })
			}
		})
	}
}

// paired begins a test with the UE's two sessions.
func paired(t *testing.T, l *lab.Lab, dnn string, sameWorker bool) *fixture {
	f := beginIn(t, l, true, nil)
	s := f.plainSMF()
	seids := s.pair(dnn, sameWorker)
	t.Cleanup(func() {
		f.settle() // while there are sessions to end the connections over
		// Packets went from worker to worker if the sessions were apart, and all got there.
		now, err := l.UPFCounters(context.Background()) // the one of the test has ended
		f.check(err)
		crossed := now["guest_uplink_packets"] - f.upf["guest_uplink_packets"]
		if (crossed > 0) == sameWorker {
			t.Errorf("%d packets were handed to the other worker", crossed)
		}
		for _, name := range []string{"drop_guest_ring_full", "drop_guest_flows_full", "drop_no_session"} {
			if n := now[name] - f.upf[name]; n != 0 {
				t.Errorf("%s rose by %d", name, n)
			}
		}
		for _, seid := range seids {
			s.delete(seid)
		}
	})
	return f
}

// guestsBalance: of several connections some use the one session and some the other, both
// ways, and each has one connection at nginx.
func guestsBalance(t *testing.T, l *lab.Lab, sameWorker bool) {
	f := paired(t, l, "balance", sameWorker)
	g := f.file(4_000_000)
	for _, d := range directions {
		before := f.carried(d.way)
		for i := range 4 {
			tr := d.start(f, g)
			if i == 0 {
				f.awaitSubflows(tr.Inspect)
				f.oneAtServer()
			}
			d.end(f, tr, g)
			f.mptcp(tr.Inspect, steer.NumAccesses)
			tr.Close()
			f.await("the end of the connection at nginx", eventTime, func() bool { return len(f.serverConnections()) == 0 })
		}
		now := f.carried(d.way)
		for a := range now {
			if n := now[a] - before[a]; d.way == lab.DirectionDown && n < uint64(g.size) {
				t.Errorf("%s: %v carried %d bytes of four times %d", d.name, steer.Access(a), n, g.size)
			}
		}
	}
}

// guestsStandby: the session of the active access goes silent under a transfer, and comes
// back. No rule of the SMF's changes.
func guestsStandby(t *testing.T, l *lab.Lab, sameWorker bool, d direction) {
	f := paired(t, l, "standby", sameWorker)
	normal := f.slowLinks()
	g := f.file(slowFile)
	tr := d.start(f, g)
	f.awaitSubflows(tr.Inspect)
	f.oneAtServer()
	f.awaitBytes(tr, slowFile/4)
	begun := f.carried(d.way)
	if begun[nonTGPP] > begun[tgpp]/10 {
		t.Errorf("the standby has carried %d bytes, the active access %d", begun[nonTGPP], begun[tgpp])
	}
	f.kill(tgpp)
	f.await("the standby carries on", eventTime, func() bool {
		return f.carried(d.way)[nonTGPP] > begun[nonTGPP]+2_000_000
	})
	f.oneAtServer()
	f.link(tgpp, normal)
	back := f.carried(d.way)[tgpp]
	f.await("the active access is used again", eventTime, func() bool {
		return f.carried(d.way)[tgpp] > back+1_000_000
	})
	d.end(f, tr, g)
	f.mptcp(tr.Inspect, 1)
}
