package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/smf"
)

// ue is what a UE does of ATSSS beside its kernel's MPTCP, for the lab's session: it takes
// the ATSSS control parameters from the smf's state file, where a whole SMF would send them
// by NAS (TS 24.193 §6.1), gives its devices the link-specific addresses and runs a PMF.
type ue struct {
	lab      *Lab
	told     told
	addrs    [steer.NumAccesses][]netip.Addr // link-specific, which the devices have
	pmf      *uePMF                          // nil = the session has none
	packets  chan pmfPacket
	requests chan ueRequest
}

// told is what NAS has told the UE of its session; the zero value is nothing.
type told struct {
	session string
	upSEID  string       // another one is another session
	addrs   []netip.Addr // of the PDU session
	params  *smf.ATSSSParameters
}

// RunUE is the UE of the named lab until ctx ends.
func RunUE(ctx context.Context, name string) error {
	l, err := Open(name)
	if err != nil {
		return err
	}
	u := &ue{lab: l, packets: make(chan pmfPacket, 256), requests: make(chan ueRequest)}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	control, err := serveLines(ctx, l.path(procUE+".sock"), u.serve)
	if err != nil {
		return fmt.Errorf("ue: %w", err)
	}
	defer control.Close()
	err = u.run(ctx)
	return errors.Join(err, u.adopt(told{}))
}

func (u *ue) run(ctx context.Context) error {
	var seen fs.FileInfo
	follow := time.NewTicker(followInterval)
	defer follow.Stop()
	tick := time.NewTimer(0)
	defer tick.Stop()
	for {
		if info, err := os.Stat(u.lab.path("smf.json")); err == nil && !sameFile(info, seen) {
			seen = info
			if err := u.follow(); err != nil {
				return err
			}
		}
		if u.pmf != nil {
			tick.Reset(u.pmf.tick())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-follow.C:
		case <-tick.C:
		case p := <-u.packets:
			if p.pmf == u.pmf {
				u.pmf.receive(p)
			}
		case r := <-u.requests:
			r.answer <- u.apply(&r)
		}
	}
}

// follow does what the smf's state file asks for.
func (u *ue) follow() error {
	st, err := smf.ReadState(u.lab.path("smf.json"))
	if err != nil {
		return err
	}
	t := toldBy(&st)
	if reflect.DeepEqual(t, u.told) {
		return nil
	}
	if err := u.adopt(t); err != nil {
		return fmt.Errorf("ue: %w", err)
	}
	params, err := json.Marshal(t.params)
	if err != nil {
		return fmt.Errorf("ue: %w", err)
	}
	fmt.Printf("ue: session %q: ATSSS control parameters %s\n", t.session, params)
	return nil
}

// toldBy is what a UE is told of the first session with ATSSS control parameters.
func toldBy(st *smf.State) told {
	for i := range st.Sessions {
		if s := &st.Sessions[i]; s.ATSSS != nil {
			return told{session: s.Name, upSEID: s.UPSEID, addrs: s.UE, params: s.ATSSS}
		}
	}
	return told{}
}

// adopt makes the UE what it is told.
func (u *ue) adopt(t told) error {
	if u.pmf != nil {
		u.pmf.close()
		u.pmf = nil
	}
	u.told = t
	if err := u.setLinkSpecific(t.params); err != nil {
		return err
	}
	if t.params == nil || len(t.params.PMF) == 0 {
		return nil
	}
	var err error
	u.pmf, err = u.newPMF(t)
	return err
}

// setLinkSpecific gives each device the link-specific addresses of its access in place of
// those that it had, and has the path manager open subflows from them.
func (u *ue) setLinkSpecific(p *smf.ATSSSParameters) error {
	changed := false
	for a := range steer.Access(steer.NumAccesses) {
		want := u.lab.linkSpecific(p, a)
		if slices.Equal(want, u.addrs[a]) {
			continue
		}
		changed = true
		if err := u.lab.configure(UE, func(h *netlink.Handle) error {
			for _, addr := range u.addrs[a] {
				if err := removeUEAddress(h, a, addr); err != nil {
					return err
				}
			}
			u.addrs[a] = nil
			for _, addr := range want {
				if err := addUEAddress(h, a, addr); err != nil {
					return err
				}
				u.addrs[a] = append(u.addrs[a], addr)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	if !changed {
		return nil
	}
	return u.lab.ResetPathManager()
}

// linkSpecific are the link-specific addresses of an access that this lab's UE can have.
func (l *Lab) linkSpecific(p *smf.ATSSSParameters, a steer.Access) []netip.Addr {
	if p == nil || p.MPTCP == nil {
		return nil
	}
	all := slices.Clone(p.MPTCP.LinkSpecific.Of(a))
	return slices.DeleteFunc(all, func(addr netip.Addr) bool { return addr.Is6() && !l.opts.IPv6 })
}

// ueRequest is a request on the control socket; the answer always has the whole state.
type ueRequest struct {
	Assist    *uint8 `json:"assist,omitempty"`    // percent of the uplink on 3GPP access: UE assistance data
	Access    string `json:"access,omitempty"`    // the one that Available is of
	Available *bool  `json:"available,omitempty"` // what the UE reports of Access

	answer chan ueResponse
}

type ueResponse struct {
	Error string  `json:"error,omitempty"`
	Stats UEStats `json:"stats"`
}

// UEStats is what the lab's UE knows of its multi-access session.
type UEStats struct {
	Session      string                          `json:"session"`      // "" = it was told of none
	UPSEID       string                          `json:"upSEID"`       // of that session
	LinkSpecific [steer.NumAccesses][]netip.Addr `json:"linkSpecific"` // that the devices have
	PMF          *PMFStats                       `json:"pmf,omitempty"`
}

func (u *ue) serve(ctx context.Context, r ueRequest) ueResponse {
	r.answer = make(chan ueResponse, 1)
	select {
	case <-ctx.Done():
		return ueResponse{Error: "the UE is gone"}
	case u.requests <- r:
		return <-r.answer
	}
}

// apply does all of a request or, if it cannot, nothing.
func (u *ue) apply(r *ueRequest) (resp ueResponse) {
	if r.Assist != nil || r.Available != nil {
		if err := u.tell(r); err != nil {
			resp.Error = err.Error()
		}
	}
	resp.Stats = UEStats{Session: u.told.session, UPSEID: u.told.upSEID, LinkSpecific: u.addrs}
	if u.pmf != nil {
		resp.Stats.PMF = u.pmf.stats()
	}
	return resp
}

func (u *ue) tell(r *ueRequest) error {
	if u.pmf == nil {
		return errors.New("the session has no PMF")
	}
	if r.Assist != nil && *r.Assist > 100 {
		return fmt.Errorf("%d percent of the uplink: must be 0 to 100", *r.Assist)
	}
	if r.Available != nil {
		a, err := ParseAccess(r.Access)
		if err != nil {
			return err
		}
		u.pmf.setAvailable(a, *r.Available)
	}
	if r.Assist != nil {
		u.pmf.assist(*r.Assist)
	}
	return nil
}

// UEStats asks the UE what it knows.
func (l *Lab) UEStats() (UEStats, error) { return l.askUE(ueRequest{}) }

// Assist has the UE tell the UPF which percentage of its uplink goes over 3GPP access.
func (l *Lab) Assist(percent uint8) error {
	_, err := l.askUE(ueRequest{Assist: &percent})
	return err
}

// ReportAccess has the UE report that an access became available or unavailable, as if its
// modem had told. What the access carries stays as it is.
func (l *Lab) ReportAccess(a steer.Access, available bool) error {
	_, err := l.askUE(ueRequest{Access: a.String(), Available: &available})
	return err
}

func (l *Lab) askUE(r ueRequest) (UEStats, error) {
	var resp ueResponse
	err := askLine(l.path(procUE+".sock"), &r, &resp)
	if err == nil && resp.Error != "" {
		err = errors.New(resp.Error)
	}
	if err != nil {
		return resp.Stats, fmt.Errorf("ue: %w", err)
	}
	return resp.Stats, nil
}

// startUE starts the UE's process if a session of the policy asks for anything of ATSSS, or
// ends it if none does, and waits until it is what it was told.
func (l *Lab) startUE(ctx context.Context, p *smf.Policy) error {
	wanted := slices.ContainsFunc(p.Sessions, func(s smf.Session) bool {
		return s.ATSSS.MPTCP || s.ATSSS.ATSSSLL || s.ATSSS.PMF != nil
	})
	proc, err := l.process(procUE)
	runs := err == nil && proc.alive()
	switch {
	case !wanted && runs:
		return errors.Join(proc.stop(), os.Remove(l.path("proc", procUE+".json")))
	case !wanted:
		return nil
	case !runs:
		if err := l.start(procUE, "", []string{l.opts.BraidBin, "lab", "--name", l.name, "ue"}); err != nil {
			return err
		}
	}
	return l.await(ctx, procUE, "UE", func() (string, error) {
		st, err := l.SMFState()
		if err != nil {
			return "", err
		}
		want := toldBy(&st)
		s, err := l.UEStats()
		switch {
		case err != nil:
			return err.Error(), nil
		case s.Session != want.session || s.UPSEID != want.upSEID:
			return fmt.Sprintf("the UE knows of session %q, %s", s.Session, s.UPSEID), nil
		}
		return "", nil
	})
}
