package upf

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/wmnsk/go-pfcp/ie"

	"github.com/braid-upf/braid/pfcp"
)

// The state file carries associations and sessions over a restart of the UPF: they
// come back with the same SEIDs, F-TEIDs and UE addresses and under the same Recovery
// Time Stamp, so that no peer has to do anything. It holds
//
//	magic and version, 8 octets
//	records: kind, 1 octet; length of what follows, 4 octets; what follows
//	CRC-32C of all before, 4 octets
//
// in network byte order. The first record is the UPF's own; PFCP IEs stand for the
// rest. The file is written at an orderly end and is gone once it is read: after a
// crash there is none, and the UPF begins empty with a new Recovery Time Stamp.
const (
	stateMagic = "BRAIDN4\x02"
	stateCRC   = 4
)

// Kinds of records.
const (
	recordUPF     = 'U' // Recovery Time Stamp IE, Node ID IE, and a count-and-octets list of our GTP-U addresses
	recordApps    = 'A' // Application ID's PFDs IEs
	recordNode    = 'N' // the address, behind its length in one octet, and the IEs of an association setup
	recordSession = 'S' // see appendSession
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// save writes the state into file: whole or not at all, for its owner's eyes alone.
func (s *Server) save(file string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("state file: %w", err)
		}
	}()
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if err = errors.Join(s.writeState(f), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), file); err != nil {
		return err
	}
	s.log.Info("state saved", "file", file, "associations", len(s.nodes), "sessions", len(s.sessions))
	return syncDir(filepath.Dir(file))
}

// syncDir makes a change of a directory last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (s *Server) writeState(w io.Writer) error {
	s.carryMeters()
	sum := crc32.New(castagnoli)
	buffered := bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<20)
	out := &stateWriter{w: buffered}
	out.octets([]byte(stateMagic))
	out.record(recordUPF, s.appendIdentity(nil))
	out.record(recordApps, out.ies(nil, s.appIEs()))
	for _, n := range s.nodes {
		out.record(recordNode, out.ies(appendAddr(nil, n.addr), n.setupIEs()))
	}
	for _, sess := range s.sessions {
		out.record(recordSession, out.ies(s.appendSession(nil, sess), s.establishmentIEs(sess)))
	}
	if err := errors.Join(out.err, buffered.Flush()); err != nil {
		return err
	}
	_, err := w.Write(binary.BigEndian.AppendUint32(nil, sum.Sum32()))
	return err
}

// stateWriter keeps the first error.
type stateWriter struct {
	w   io.Writer
	err error
}

func (o *stateWriter) octets(b []byte) {
	if o.err == nil {
		_, o.err = o.w.Write(b)
	}
}

func (o *stateWriter) record(kind byte, body []byte) {
	o.octets(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body))))
	o.octets(body)
}

// ies appends IEs to b.
func (o *stateWriter) ies(b []byte, ies []*ie.IE) []byte {
	for _, i := range ies {
		c, err := i.Marshal()
		if o.err == nil {
			o.err = err
		}
		b = append(b, c...)
	}
	return b
}

// appendIdentity appends what makes a state file ours: whose it is, and where its
// sessions' tunnels end.
func (s *Server) appendIdentity(b []byte) []byte {
	b = append(b, pfcp.RecoveryTimeStampIE(s.started).Payload...)
	b = append(append(b, byte(len(s.cfg.PFCP.NodeID))), s.cfg.PFCP.NodeID...)
	addrs := s.cfg.GTPU.Addrs("N3", "N9")
	b = append(b, byte(len(addrs)))
	for _, a := range addrs {
		b = appendAddr(b, a)
	}
	return b
}

// appendAddr appends an address behind its length; 0 = the zero Addr.
func appendAddr(b []byte, a netip.Addr) []byte {
	return append(append(b, byte(a.BitLen()/8)), a.AsSlice()...)
}

// appendSession appends what the IEs of sess do not say: its SEID, where its reports
// go, what was chosen for it by CHOOSE ID, and its usage.
func (s *Server) appendSession(b []byte, sess *session) []byte {
	b = binary.BigEndian.AppendUint64(b, sess.seid)
	more := sess.rare()
	b = appendAddr(b, more.reportTo)
	return s.appendUsage(appendChosen(b, more.chosen), sess)
}
