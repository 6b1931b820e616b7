package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/braid-upf/braid/smf"
)

// tunnelOf finds the uplink tunnel of an access in the smf's state; the first
// session that has one counts. It is nil if there is none.
func tunnelOf(st *smf.State, access string) (*Tunnel, error) {
	for _, s := range st.Sessions {
		for _, u := range s.Uplink {
			if u.Access != access {
				continue
			}
			teid, err := strconv.ParseUint(u.TEID, 0, 32)
			if err != nil {
				return nil, fmt.Errorf("session %s: TEID: %w", s.Name, err)
			}
			peer, err := netip.ParseAddr(u.Address)
			if err != nil {
				return nil, fmt.Errorf("session %s: address: %w", s.Name, err)
			}
			t := &Tunnel{TEID: uint32(teid), Peer: peer}
			if err := t.validate(); err != nil {
				return nil, fmt.Errorf("session %s: %w", s.Name, err)
			}
			return t, nil
		}
	}
	return nil, nil
}

// missing says what keeps the policy load number generation from standing: nothing
// if it is empty. err is final: the UPF has refused something.
func missing(st *smf.State, generation int) (what string, err error) {
	switch {
	case st.Association != smf.Up:
		return "association is " + string(st.Association) + " " + st.Error, nil
	case st.Generation < generation:
		return fmt.Sprintf("the smf is at policy load %d of %d", st.Generation, generation), nil
	case st.Error != "":
		return "", errors.New(st.Error)
	}
	for _, s := range st.Sessions {
		if s.Error != "" {
			return "", fmt.Errorf("session %s: %s", s.Name, s.Error)
		}
		if s.UPSEID == "" {
			return "session " + s.Name + " is not established", nil
		}
	}
	return "", nil
}

// followSMF keeps the access's uplink tunnel as the smf's state file has it, so
// that it survives a restart of UPF or SMF.
func (a *access) followSMF(ctx context.Context) {
	if a.cfg.SMFState == "" {
		return
	}
	var seen fs.FileInfo
	tick := time.NewTicker(followInterval)
	defer tick.Stop()
	for {
		if info, err := os.Stat(a.cfg.SMFState); err == nil && !sameFile(info, seen) {
			seen = info
			a.adoptTunnel()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// followInterval bounds how long an access uses a tunnel that is no more.
const followInterval = 20 * time.Millisecond

// sameFile says whether a file is unchanged; the smf replaces its file, so that
// a new one has another inode even within the clock's grain.
func sameFile(a, b fs.FileInfo) bool {
	return b != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

func (a *access) adoptTunnel() {
	st, err := smf.ReadState(a.cfg.SMFState)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			fmt.Printf("access %s: %v\n", a.cfg.Access, err)
		}
		return
	}
	t, err := tunnelOf(&st, a.cfg.Access)
	if err != nil {
		fmt.Printf("access %s: %v\n", a.cfg.Access, err)
		return
	}
	if old := a.tunnel.Load(); t != nil && (old == nil || *old != *t) {
		a.tunnel.Store(t)
		fmt.Printf("access %s: uplink tunnel %#x at %v\n", a.cfg.Access, t.TEID, t.Peer)
	}
}
