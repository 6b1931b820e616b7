package upf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"net/netip"
	"os"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/pfcp"
)

// restore takes over what the last life of the UPF has left in file, and takes the
// file away. A file that is broken, of another version or of another UPF is said and
// passed over: the UPF begins empty.
func (s *Server) restore(file string) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = os.Remove(file) // first: what is used must never be used again
	}
	if err == nil {
		err = s.takeState(b)
	}
	if err != nil {
		s.log.Error("state not restored: the UPF begins without sessions", "file", file, "err", err)
		return
	}
	s.log.Info("state restored", "file", file, "associations", len(s.nodes), "sessions", len(s.sessions), "since", s.started)
}

// state is a state file, read.
type state struct {
	started  time.Time
	apps     *message.PFDManagementRequest
	nodes    []*node
	sessions []savedSession
}

type savedSession struct {
	*session
	establish *message.SessionEstablishmentRequest
	usage     savedUsage
}

// takeState reads b whole, and then makes what it says. A session that can not be
// made is left out: its CP function will be told that it is not there.
func (s *Server) takeState(b []byte) error {
	st, err := s.readState(b)
	if err != nil {
		return err
	}
	apps, _, refused := s.changeApps(st.apps)
	if refused != nil {
		return refused
	}
	s.started, s.apps = st.started, apps
	for _, n := range st.nodes {
		s.associate(n)
	}
	for _, saved := range st.sessions {
		if err := s.restoreSession(saved); err != nil {
			s.log.Error("session not restored", "seid", seidText(saved.seid), "node", saved.cp.node(), "err", err)
		}
	}
	return nil
}

func (s *Server) restoreSession(saved savedSession) *pfcp.Error {
	sess := saved.session
	if s.nodes[sess.cp.node()] == nil {
		return noAssociation("node " + sess.cp.node())
	}
	if s.sessions[sess.seid] != nil || s.byCP[sess.cp] != nil {
		return &pfcp.Error{Cause: ie.CauseRequestRejected, Text: "it is there twice"}
	}
	set := newRuleSet()
	if err := set.establish(saved.establish); err != nil {
		return err
	}
	if err := set.availability(all(saved.establish.IEs, ie.AccessAvailabilityInformation)); err != nil {
		return err
	}
	saved.usage.spent(&set)
	set.asking = false // the CP function has its answer
	before, err := s.restoreLinks(sess, saved.establish)
	if err != nil {
		return err
	}
	c, err := s.compile(sess.seid, set, before)
	if err != nil {
		return err
	}
	if more := sess.rare(); more.chosen != nil {
		c.chosen.tunnels, c.chosen.ue4, c.chosen.ue6 = more.chosen.tunnels, more.chosen.ue4, more.chosen.ue6
	}
	if _, err := s.install(sess, c); err != nil {
		return err
	}
	s.sessions[sess.seid] = sess
	s.byCP[sess.cp] = sess
	s.usageInstalled(sess)
	s.inactivityTimer(sess, saved.establish.UserPlaneInactivityTimer)
	s.restoreUsage(sess, &saved.usage)
	return nil
}

// restoreLinks are the link-specific addresses that the session had. Those that the
// config has no more, or another session, it has lost.
func (s *Server) restoreLinks(sess *session, m *message.SessionEstablishmentRequest) (*chosen, *pfcp.Error) {
	l, err := parseLinks(first(m.IEs, ie.UELinkSpecificIPAddress))
	for i, p := range l {
		if p.IsValid() && !s.registry.links.free(p) {
			s.log.Warn("link-specific addresses lost", "seid", seidText(sess.seid), "pair", p)
			l[i] = netip.Prefix{}
		}
	}
	return &chosen{links: l}, err
}

// readState reads a state file.
func (s *Server) readState(b []byte) (*state, error) {
	if len(b) < len(stateMagic)+stateCRC || string(b[:len(stateMagic)]) != stateMagic {
		return nil, errors.New("not a state file of this version")
	}
	body, sum := b[:len(b)-stateCRC], binary.BigEndian.Uint32(b[len(b)-stateCRC:])
	if crc32.Checksum(body, castagnoli) != sum {
		return nil, errors.New("checksum does not fit")
	}
	st := &state{apps: message.NewPFDManagementRequest(0)}
	r := &stateReader{rest: body[len(stateMagic):]}
	for len(r.rest) > 0 && r.err == nil {
		kind := r.u8()
		record := &stateReader{rest: r.octets(int(r.u32()))}
		if r.err == nil {
			r.err = s.readRecord(st, kind, record)
		}
	}
	if r.err == nil && st.started.IsZero() {
		r.err = errors.New("the UPF's own record is not there")
	}
	return st, r.err
}

func (s *Server) readRecord(st *state, kind byte, r *stateReader) error {
	if (kind == recordUPF) != st.started.IsZero() {
		return errors.New("the UPF's own record is not the first, or not the only one")
	}
	switch kind {
	case recordUPF:
		s.readIdentity(st, r)
	case recordApps:
		st.apps = message.NewPFDManagementRequest(0, r.ies()...)
	case recordNode:
		n, _, err := readSetupAt(r)
		r.check(err)
		st.nodes = append(st.nodes, n)
	case recordSession:
		st.sessions = append(st.sessions, readSession(r))
	default:
		return fmt.Errorf("record of kind %#x", kind)
	}
	return r.err
}

// readIdentity reads the Recovery Time Stamp; the rest must be what ours is.
func (s *Server) readIdentity(st *state, r *stateReader) {
	stamp, err := pfcp.ParseRecoveryTimeStamp(ie.New(ie.RecoveryTimeStamp, r.octets(4)))
	r.check(err)
	st.started = stamp
	ours := s.appendIdentity(nil)[4:]
	if r.err == nil && !bytes.Equal(r.rest, ours) {
		r.err = errors.New("of another Node ID, or of other N3 and N9 addresses")
	}
}

func readSetupAt(r *stateReader) (*node, *pfcp.Retention, *pfcp.Error) {
	a := r.addr()
	n, keep, err := readSetup(message.NewAssociationSetupRequest(0, r.ies()...))
	n.addr = a
	return n, keep, err
}

func readSession(r *stateReader) savedSession {
	sess := &session{seid: r.u64()}
	more := sessionMore{reportTo: r.addr(), chosen: r.chosen()}
	usage := r.usage()
	set, isIn, err := pfcp.ParseSessionSet(r.rest)
	r.check(err)
	if isIn {
		more.set = &set
	}
	sess.setRare(more)
	m := message.NewSessionEstablishmentRequest(0, 0, 0, 0, 0, r.ies()...)
	if m.CPFSEID == nil {
		r.check(&pfcp.Error{Cause: ie.CauseMandatoryIEMissing, Offending: ie.FSEID, Text: "no CP F-SEID"})
		return savedSession{session: sess, establish: m}
	}
	cp, err := pfcp.ParseFSEID(m.CPFSEID)
	r.check(err)
	node, err := nodeOf(m.NodeID)
	r.check(err)
	sess.cp = cpSessionOf(node, cp)
	return savedSession{sess, m, usage}
}

// stateReader reads a record from its front. After the first error it stands still
// and gives zeros.
type stateReader struct {
	rest []byte
	err  error
}

func (r *stateReader) check(err *pfcp.Error) {
	if r.err == nil && err != nil {
		r.err = err
	}
}

// octets are the next n.
func (r *stateReader) octets(n int) []byte {
	if r.err != nil || n > len(r.rest) {
		if r.err == nil {
			r.err = errors.New("record cut off")
		}
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *stateReader) number(n int) (v uint64) {
	for _, o := range r.octets(n) {
		v = v<<8 | uint64(o)
	}
	return v
}

func (r *stateReader) u8() byte    { return byte(r.number(1)) }
func (r *stateReader) u16() uint16 { return uint16(r.number(2)) }
func (r *stateReader) u32() uint32 { return uint32(r.number(4)) }
func (r *stateReader) u64() uint64 { return r.number(8) }

func (r *stateReader) addr() netip.Addr {
	n := int(r.u8())
	a, ok := netip.AddrFromSlice(r.octets(n))
	if n > 0 && !ok && r.err == nil {
		r.err = errors.New("no address")
	}
	return a
}

// ies are all the IEs that are left.
func (r *stateReader) ies() []*ie.IE {
	ies, err := pfcp.ParseIEs(r.octets(len(r.rest)))
	r.check(err)
	return ies
}
