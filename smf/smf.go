// Package smf is a small SMF: the control side of N4 (TS 29.244) for multi-access
// sessions, as far as a lab, a demo or a test needs one.
//
// A [Policy] names a UPF and the sessions on it. An [SMF] associates with the UPF,
// establishes the sessions, exchanges heartbeats, sends the differences when the
// policy changes, and takes all of it back when it ends. What it knows stands in
// a [State] file; the N4 exchange can be written as a pcap.
//
// Implemented: association setup and release (§6.2.6, §6.2.8), also when the UPF asks for
// it (§6.2.7.3): a new association is then tried until the UPF takes one. Heartbeats and
// restart detection (§6.2.2, TS 23.007 §19A), session establishment, modification
// and deletion (§6.3) with PDR, FAR, QER, MAR and SRR; ATSSS (§5.20): every steering mode
// with its thresholds and indicator, for TCP by MPTCP and for other traffic by ATSSS-LL,
// the ATSSS control parameters, and access availability reports.
//
// Left out: URR, BAR, buffering, SDF filters other than "TCP", more than one QoS flow a
// session; N1, N2 and everything else that a whole SMF does. UE addresses and radio
// tunnels come from the policy; what the UE is to be told stands in the state file.
package smf

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/pfcp"
)

// goodbyeTime bounds the deletion of the sessions and the release at the end.
const goodbyeTime = 5 * time.Second

// Config is what an [SMF] starts with.
type Config struct {
	Policy *Policy        // required, valid
	Peer   netip.AddrPort // the UPF's N4 address, instead of the policy's if valid
	Local  netip.AddrPort // our N4 address, instead of the policy's node with the PFCP port if valid

	StateFile string    // path; empty = none
	Dump      io.Writer // gets the N4 exchange as a pcap file; nil = nowhere

	RetransTimeout time.Duration // before a request is sent again, and before a new try to associate; 0 = 1 s
	MaxRetrans     int           // times a request is sent again; 0 = 3

	Log *slog.Logger // nil = none
}

// SMF is a running control plane. [SMF.Run] does its work; [SMF.Apply] and
// [SMF.Refuse] may be called from other goroutines.
type SMF struct {
	cfg      Config
	log      *slog.Logger
	node     netip.Addr
	peer     netip.AddrPort
	endpoint *pfcp.Endpoint
	dump     *pcapWriter
	recovery time.Time // our Recovery Time Stamp

	policies chan policyChange
	upfTimes chan time.Time // Recovery Time Stamps in the UPF's heartbeat requests
	releases chan struct{}  // the UPF asks for the release of the association
	reports  chan []availability
	seids    seidTable

	// Of the goroutine of Run alone.
	policy      *Policy
	uncounted   bool // policy is not in generation yet
	generation  int
	association Association
	err         error     // see State.Error
	upfRecovery time.Time // the UPF's Recovery Time Stamp, valid unless Down
	sessions    map[string]*session
	lastSEID    uint64
	written     []byte // the state file's contents
}

// policyChange is a new policy, or why there is none.
type policyChange struct {
	policy *Policy
	err    error
}

// New binds the N4 socket. Nothing is sent before [SMF.Run].
func New(cfg Config) (*SMF, error) {
	if err := cfg.Policy.Validate(); err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.RetransTimeout <= 0 {
		cfg.RetransTimeout = time.Second
	}
	if cfg.MaxRetrans <= 0 {
		cfg.MaxRetrans = 3
	}
	s := &SMF{
		cfg: cfg, log: cfg.Log, node: cfg.Policy.Node, peer: cfg.Policy.UPF,
		recovery:    time.Now(),
		policies:    make(chan policyChange, 1),
		upfTimes:    make(chan time.Time, 1),
		releases:    make(chan struct{}, 1),
		reports:     make(chan []availability, 64),
		policy:      cfg.Policy.Clone(),
		uncounted:   true,
		association: Down,
		sessions:    map[string]*session{},
	}
	if cfg.Peer.IsValid() {
		s.peer = cfg.Peer
	}
	local := netip.AddrPortFrom(s.node, pfcp.Port)
	if cfg.Local.IsValid() {
		local = cfg.Local
	}
	pc := pfcp.Config{Addr: local, RetransTimeout: cfg.RetransTimeout, MaxRetrans: cfg.MaxRetrans, Log: cfg.Log}
	if cfg.Dump != nil {
		s.dump = &pcapWriter{dst: cfg.Dump}
		pc.Trace = s.dump.trace
	}
	var err error
	if s.endpoint, err = pfcp.Listen(pc, s.serve); err != nil {
		return nil, fmt.Errorf("smf: N4 socket %s: %w", local, err)
	}
	return s, nil
}

// LocalAddr is our N4 address.
func (s *SMF) LocalAddr() netip.AddrPort { return s.endpoint.LocalAddr() }

// Apply has Run carry out p instead of the policy it has. It fails if p is not
// valid or is for another UPF or node than the SMF was started with.
func (s *SMF) Apply(p *Policy) error {
	if err := p.Validate(); err != nil {
		return err
	}
	if p.UPF != s.cfg.Policy.UPF {
		return wrong("upf", "%s: was %s at the start, a change needs a restart", p.UPF, s.cfg.Policy.UPF)
	}
	if p.Node != s.node {
		return wrong("node", "%s: was %s at the start, a change needs a restart", p.Node, s.node)
	}
	s.offer(policyChange{policy: p.Clone()})
	return nil
}

// Refuse has the state file say that a new policy could not be taken. The policy
// in force stays.
func (s *SMF) Refuse(err error) { s.offer(policyChange{err: err}) }

// offer puts c where Run finds it, in place of an older change not yet taken.
func (s *SMF) offer(c policyChange) {
	for {
		select {
		case s.policies <- c:
			return
		default:
		}
		select {
		case <-s.policies:
		default:
		}
	}
}

// Run works until ctx ends; then it deletes the sessions, releases the association
// and closes the socket. An SMF runs once. The error is of the state file or the
// dump; what the UPF does or refuses stands in the state file.
func (s *SMF) Run(ctx context.Context) error {
	defer s.endpoint.Close()
	err := s.work(ctx)
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbyeTime)
	defer cancel()
	s.goodbye(bye)
	return errors.Join(err, s.writeState(), s.dumpFailure())
}

func (s *SMF) dumpFailure() error {
	if s.dump == nil {
		return nil
	}
	if err := s.dump.failure(); err != nil {
		return fmt.Errorf("smf: dump: %w", err)
	}
	return nil
}

// work is the loop of Run: it brings the UPF to the policy, then waits for what
// could move one of them.
func (s *SMF) work(ctx context.Context) error {
	beat := time.NewTicker(s.policy.Heartbeat)
	defer beat.Stop()
	settled := false
	for ctx.Err() == nil {
		if s.association == Down {
			settled = false
			s.associate(ctx)
		}
		if s.association != Down && !settled {
			settled = s.settle(ctx)
		}
		if err := s.writeState(); err != nil {
			return err
		}
		var retry <-chan time.Time
		if s.association == Down {
			retry = time.After(s.cfg.RetransTimeout)
		}
		select {
		case <-ctx.Done():
		case <-retry:
		case c := <-s.policies:
			if s.take(c) {
				settled = false
			}
			beat.Reset(s.policy.Heartbeat)
		case <-s.releases:
			s.goodbye(ctx)
		case reports := <-s.reports:
			for _, r := range reports {
				s.takeReport(r)
			}
		case at := <-s.upfTimes:
			s.seeRecovery(at)
		case <-beat.C:
			s.heartbeat(ctx)
		}
	}
	return nil
}

// take makes c the policy in force; it says whether there is one to carry out.
func (s *SMF) take(c policyChange) bool {
	s.err = c.err
	if c.err != nil {
		s.log.Error("policy not taken", "err", c.err)
		return false
	}
	s.policy, s.uncounted = c.policy, true
	return true
}

// settle brings every session to the policy. It is true when all that can be done
// is done; false when the association is gone meanwhile.
func (s *SMF) settle(ctx context.Context) bool {
	if !s.removeLeaving(ctx) {
		return false
	}
	for i := range s.policy.Sessions {
		want := &s.policy.Sessions[i]
		ses := s.sessions[want.Name]
		if ses == nil {
			s.lastSEID++
			ses = &session{cpSEID: s.lastSEID}
			s.sessions[want.Name] = ses
		}
		ses.err = s.bring(ctx, ses, want)
		if s.lostBy(ctx, want.Name, ses.err) {
			return false
		}
	}
	if s.uncounted {
		s.generation++
		s.uncounted = false
	}
	return true
}

// removeLeaving deletes the sessions that the policy has no more or that it cannot
// reach by a modification. All of them go before any other change, so that a UE
// address can move from one session to another.
func (s *SMF) removeLeaving(ctx context.Context) bool {
	wanted := map[string]*Session{}
	for i := range s.policy.Sessions {
		wanted[s.policy.Sessions[i].Name] = &s.policy.Sessions[i]
	}
	for name, ses := range s.sessions {
		want := wanted[name]
		if ses.up && (want == nil || ses.broken || mustReplace(&ses.have, want)) {
			err := s.remove(ctx, ses)
			if s.lostBy(ctx, name, err) {
				return false
			}
			s.forget(ses) // refused or not: the UPF's copy is not the one that we want
		}
		if want == nil {
			delete(s.sessions, name)
		}
	}
	return true
}

// bring makes the UPF's session equal to want by the least that does it.
func (s *SMF) bring(ctx context.Context, ses *session, want *Session) error {
	if ses.up {
		err := s.modify(ctx, ses, want)
		if !isCause(err, ie.CauseSessionContextNotFound) {
			return err
		}
		s.forget(ses) // the UPF lost it
	}
	return s.establish(ctx, ses, want)
}

// lostBy logs the error of a session's request and says whether the association is
// gone by it: the UPF does not answer, or says that there is none. It is set up
// anew then, which clears the UPF of whatever a lost answer left there.
func (s *SMF) lostBy(ctx context.Context, name string, err error) bool {
	if err == nil {
		return false
	}
	if ctx.Err() != nil {
		return true
	}
	s.log.Error("session", "name", name, "err", err)
	if errors.Is(err, pfcp.ErrTimeout) || isCause(err, ie.CauseNoEstablishedPFCPAssociation) {
		s.association, s.err = Down, err
		return true
	}
	return false
}

func isCause(err error, cause uint8) bool {
	var r *RefusedError
	return errors.As(err, &r) && r.Cause == cause
}

// goodbye takes back what the UPF has of us.
func (s *SMF) goodbye(ctx context.Context) {
	if s.association != Up {
		return
	}
	for name, ses := range s.sessions {
		if ses.up {
			ses.err = s.remove(ctx, ses)
			if ses.err != nil {
				s.log.Error("session", "name", name, "err", ses.err)
			}
		}
	}
	s.association = Down
	answer, err := s.endpoint.Request(ctx, s.peer, message.NewAssociationReleaseRequest(0, nodeID(s.node)))
	if err == nil {
		if resp, ok := answer.(*message.AssociationReleaseResponse); ok {
			err = accepted("Association Release Request", resp.Cause, nil, nil)
		}
	}
	if err != nil {
		s.err = err
		s.log.Error("release", "upf", s.peer, "err", err)
		return
	}
	s.log.Info("released", "upf", s.peer)
}

// state is what the state file is to hold.
func (s *SMF) state() State {
	st := State{Association: s.association, Sessions: []SessionState{}, Generation: s.generation}
	if s.err != nil {
		st.Error = s.err.Error()
	}
	for i := range s.policy.Sessions {
		want := &s.policy.Sessions[i]
		if ses := s.sessions[want.Name]; ses != nil {
			st.Sessions = append(st.Sessions, ses.state(want))
		}
	}
	return st
}

// writeState brings the state file up to date.
func (s *SMF) writeState() error {
	if s.cfg.StateFile == "" {
		return nil
	}
	b, err := json.MarshalIndent(s.state(), "", "  ")
	if err != nil {
		return fmt.Errorf("smf: state: %w", err)
	}
	if b = append(b, '\n'); bytes.Equal(b, s.written) {
		return nil
	}
	if err := replaceFile(s.cfg.StateFile, b); err != nil {
		return fmt.Errorf("smf: state file: %w", err)
	}
	s.written = b
	return nil
}
