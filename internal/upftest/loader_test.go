package upftest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/pfcp"
)

// template is a request, and where in it a session's own values stand.
type template struct {
	datagram []byte
	at       map[string][]int
}

// Values that stand for a session's own in a template.
const (
	markSEID = 0x5e1d5e1d5e1d5e1d
	markTEID = 0x7e1d7e1d
	markGNB  = 0x9b1d9b1d
)

var markUE = netip.AddrFrom4([4]byte{10, 0xe1, 0xe2, 0xe3})

func newTemplate(t *testing.T, m message.Message) template {
	t.Helper()
	b := make([]byte, m.MarshalLen())
	if err := m.MarshalTo(b); err != nil {
		t.Fatal(err)
	}
	tm := template{b, map[string][]int{}}
	for name, mark := range map[string][]byte{
		"seid": binary.BigEndian.AppendUint64(nil, markSEID), "teid": binary.BigEndian.AppendUint32(nil, markTEID),
		"gnb": binary.BigEndian.AppendUint32(nil, markGNB), "ue": markUE.AsSlice(),
	} {
		for off := 0; ; {
			i := bytes.Index(b[off:], mark)
			if i < 0 {
				break
			}
			tm.at[name] = append(tm.at[name], off+i)
			off += i + len(mark)
		}
	}
	return tm
}

func (t *template) put(name string, v []byte) {
	for _, i := range t.at[name] {
		copy(t.datagram[i:], v)
	}
}

// measured is how a run of requests went.
type measured struct {
	begun time.Time
	at    []time.Time     // of the answers, in the order in which they came
	took  []time.Duration // from a request's first sending to its answer
	again int             // requests that were sent again
	cpu   []time.Duration // that the UPF had taken of its core, at the begin and after each part
}

func (m *measured) String() string {
	n := len(m.at)
	return fmt.Sprintf("%.0f/s over all, %.0f/s in the best tenth, %.0f in a second of the core in the best tenth by that; answered after %v (median), %v (99%%), %v (99%% of the best tenth), %v (longest); %d sent again",
		float64(n)/m.at[n-1].Sub(m.begun).Seconds(), m.best(), m.perCore(), quantile(m.took, 0.5), quantile(m.took, 0.99), m.p99(), quantile(m.took, 1), m.again)
}

// parts is how many a run is cut into: the best of them counts, for what else the machine
// does may slow the others.
const parts = 10

// best is the rate of the best part.
func (m *measured) best() (rate float64) {
	n := len(m.at) / parts
	for i := range parts {
		from := m.begun
		if i > 0 {
			from = m.at[i*n-1]
		}
		rate = max(rate, float64(n)/m.at[(i+1)*n-1].Sub(from).Seconds())
	}
	return rate
}

// perCore is the rate in the time that the UPF had its core, which is all of it on a machine
// that does nothing else, for all that it did: that of the best part.
func (m *measured) perCore() (rate float64) {
	for i := range parts {
		rate = max(rate, float64(len(m.at)/parts)/(m.cpu[i+1]-m.cpu[i]).Seconds())
	}
	return rate
}

// p99 is the 99 % quantile of the best part.
func (m *measured) p99() time.Duration {
	n := len(m.took) / parts
	best := time.Duration(math.MaxInt64)
	for i := range parts {
		best = min(best, quantile(m.took[i*n:(i+1)*n], 0.99))
	}
	return best
}

func quantile(d []time.Duration, q float64) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[min(int(q*float64(len(d))), len(d)-1)].Round(10 * time.Microsecond)
}

// loader sends requests of many sessions, so many at a time. It makes them out of
// templates: encoding each would take longer than the UPF takes for it.
type loader struct {
	w                 *world
	establish, remove template
	seq               uint32
	first             uint32   // number of the next session, from 1
	seids             []uint64 // the UPF's, of the sessions that stand
}

// window is how many requests are under way at a time.
const window = 8

func newLoader(w *world) *loader {
	w.Helper()
	rules := free5GCSession(n3Addr, markTEID, markUE)
	rules.fars[1] = toGNB(farDown, gnbAddr[1], markGNB)
	rules.addURRs()
	est := message.NewSessionEstablishmentRequest(0, 0, 0, 0, 0,
		append([]*ie.IE{pfcp.NodeIDIE(smfAddr.String()), pfcp.FSEID{SEID: markSEID, IPv4: smfAddr}.IE()}, rules.creates()...)...)
	return &loader{
		w: w, first: 1, establish: newTemplate(w.T, est),
		remove: newTemplate(w.T, message.NewSessionDeletionRequest(0, 0, markSEID, 0, 0)),
	}
}

// seqAt is where the sequence number stands in a message with a SEID.
const seqAt = 12

// patience is how long a real SMF waits for an answer before it sends a request again.
const patience = 3 * time.Second

// run establishes n sessions, or deletes those n that came first.
func (l *loader) run(typ uint8, n int) *measured {
	l.w.Helper()
	conn := l.w.smf.udp(netip.AddrPortFrom(smfAddr, 0))
	m := &measured{cpu: []time.Duration{l.w.upf.cpu()}, begun: time.Now()}
	sent := make([]time.Time, n) // zero: not yet, or answered
	next := 0
	send := func(i int) {
		b, seq := l.request(typ, i), l.seq+uint32(i)
		b[seqAt], b[seqAt+1], b[seqAt+2] = byte(seq>>16), byte(seq>>8), byte(seq)
		if sent[i].IsZero() {
			sent[i] = time.Now()
		}
		_, err := conn.WriteToUDPAddrPort(b, netip.AddrPortFrom(n4Addr, pfcp.Port))
		l.w.smf.check(err)
	}
	for ; next < window; next++ {
		send(next)
	}
	b := make([]byte, 65536)
	for tries := 0; len(m.at) < n; {
		l.w.smf.check(conn.SetReadDeadline(time.Now().Add(patience)))
		k, err := conn.Read(b)
		if errors.Is(err, os.ErrDeadlineExceeded) && tries < 3 {
			tries++
			for i := range sent[:next] {
				if !sent[i].IsZero() {
					m.again++
					send(i)
				}
			}
			continue
		}
		if err != nil {
			l.w.Fatalf("%d of %d requests are answered: %v", len(m.at), n, err)
		}
		i := (uint32(b[seqAt])<<16 | uint32(b[seqAt+1])<<8 | uint32(b[seqAt+2])) - l.seq
		if sent[i].IsZero() {
			continue // the answer to one that was sent again
		}
		now := time.Now()
		m.at = append(m.at, now)
		m.took = append(m.took, now.Sub(sent[i]))
		if len(m.at)%(n/parts) == 0 {
			m.cpu = append(m.cpu, l.w.upf.cpu())
		}
		sent[i], tries = time.Time{}, 0
		if err := l.answered(b[:k], typ); err != nil {
			l.w.Fatalf("request %d: %v", i, err)
		}
		if next < n {
			send(next)
			next++
		}
	}
	l.seq += uint32(n)
	if typ == message.MsgTypeSessionDeletionRequest {
		l.seids = l.seids[n:]
	} else {
		l.first += uint32(n)
	}
	return m
}

// request is the request number i of a run.
func (l *loader) request(typ uint8, i int) []byte {
	if typ == message.MsgTypeSessionDeletionRequest {
		l.remove.put("seid", binary.BigEndian.AppendUint64(nil, l.seids[i]))
		return l.remove.datagram
	}
	k := l.first + uint32(i)
	l.establish.put("seid", binary.BigEndian.AppendUint64(nil, 1<<32|uint64(k)))
	l.establish.put("teid", binary.BigEndian.AppendUint32(nil, teidOf(k)))
	l.establish.put("gnb", binary.BigEndian.AppendUint32(nil, 1<<21|k))
	l.establish.put("ue", binary.BigEndian.AppendUint32(nil, ueOf(k)))
	return l.establish.datagram
}

// answered reads an answer and keeps the SEID that an establishment gives.
func (l *loader) answered(b []byte, typ uint8) error {
	if b[1] != typ+1 {
		return fmt.Errorf("answer of type %d, want %d", b[1], typ+1)
	}
	accepted := false
	for ies := b[16:]; len(ies) >= 4; {
		typ, end := binary.BigEndian.Uint16(ies), 4+int(binary.BigEndian.Uint16(ies[2:]))
		if end > len(ies) {
			break
		}
		switch v := ies[4:end]; typ {
		case ie.Cause:
			accepted = v[0] == ie.CauseRequestAccepted
		case ie.FSEID:
			l.seids = append(l.seids, binary.BigEndian.Uint64(v[1:]))
		}
		ies = ies[end:]
	}
	if !accepted {
		return fmt.Errorf("answer without acceptance: %x", b)
	}
	return nil
}
