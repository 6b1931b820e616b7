package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/braid-upf/braid/packet"
)

// Where a packet was seen, at the proxy's edges.
const (
	fromUE = iota
	toUE
	toServer
	fromServer
)

var pointNames = [...]string{"UE >P  ", "UE< P  ", "   P >S", "   P< S"}

// traceLen is how many packets are kept for the report.
var traceLen = 60

// trace keeps the last packets and notes.
type trace struct {
	ring []traceItem
	n    int
}

type traceItem struct {
	at    time.Duration
	point int
	where string
	pkt   []byte
	note  string
	w     *watch
	sub   *subWatch
}

func (t *trace) add(i traceItem) {
	if len(t.ring) < traceLen {
		t.ring = append(t.ring, i)
	} else {
		t.ring[t.n%traceLen] = i
	}
	t.n++
}

// String is the packet conversation, oldest first.
func (t *trace) String() string {
	var b strings.Builder
	for i := max(0, t.n-traceLen); i < t.n; i++ {
		it := &t.ring[i%traceLen]
		fmt.Fprintf(&b, "%11.6f ", it.at.Seconds())
		if it.pkt == nil {
			fmt.Fprintf(&b, "---- %s\n", it.note)
			continue
		}
		fmt.Fprintf(&b, "%s %-9s ", pointNames[it.point], it.where)
		s, err := decode(it.pkt)
		if err != nil {
			fmt.Fprintf(&b, "%v: %x\n", err, it.pkt)
			continue
		}
		b.WriteString(describe(s, it))
		b.WriteByte('\n')
	}
	return b.String()
}

// describe prints a segment with SSNs relative to the SYNs and stream positions.
func describe(s *segment, it *traceItem) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d>%d [%s]", s.src.port, s.dst.port, flagString(s.flags))
	up := it.point == fromUE || it.point == toServer
	seqBase, ackBase := uint32(0), uint32(0)
	w := it.w
	if w != nil && it.sub != nil {
		seqBase, ackBase = it.sub.cISN, it.sub.pISN
	} else if w != nil {
		seqBase, ackBase = w.cISN, w.sISN
	}
	if !up {
		seqBase, ackBase = ackBase, seqBase
	}
	seq := s.sn - seqBase
	fmt.Fprintf(&b, " seq %d", int32(seq))
	if len(s.payload) > 0 {
		fmt.Fprintf(&b, "-%d (%d)", int32(seq)+int32(len(s.payload)), len(s.payload))
	}
	if s.has(packet.ACK) {
		fmt.Fprintf(&b, " ack %d", int32(s.ack-ackBase))
	}
	for _, r := range s.sacks {
		fmt.Fprintf(&b, " sack %d-%d", int32(r[0]-ackBase), int32(r[1]-ackBase))
	}
	fmt.Fprintf(&b, " win %d", s.window)
	if s.mss > 0 {
		fmt.Fprintf(&b, " mss %d", s.mss)
	}
	if s.wscale >= 0 {
		fmt.Fprintf(&b, " ws %d", s.wscale)
	}
	if s.sackOK {
		b.WriteString(" sackOK")
	}
	if s.hasTS {
		fmt.Fprintf(&b, " ts %d/%d", s.tsVal, s.tsEcr)
	}
	describeMPTCP(&b, s, w, up)
	return b.String()
}

func describeMPTCP(b *strings.Builder, s *segment, w *watch, up bool) {
	m := &s.mp
	if c := m.capable; c != nil {
		fmt.Fprintf(b, " MP_CAPABLE flags %02x keys %d", c.flags, len(c.keys))
		if c.dataLen >= 0 {
			fmt.Fprintf(b, " len %d", c.dataLen)
		}
	}
	if j := m.join; j != nil {
		fmt.Fprintf(b, " MP_JOIN id %d backup %v hmac %d", j.id, j.backup, len(j.hmac))
	}
	if d := m.dss; d != nil {
		b.WriteString(" DSS")
		if d.hasAck {
			if w != nil {
				fmt.Fprintf(b, " dack %d", w.position(d.ack, d.ack8, !up))
			} else {
				fmt.Fprintf(b, " dack %x", d.ack)
			}
		}
		if d.hasMap {
			if w != nil {
				fmt.Fprintf(b, " map %d", w.position(d.dsn, d.map8, up))
			} else {
				fmt.Fprintf(b, " map %x", d.dsn)
			}
			fmt.Fprintf(b, " ssn %d len %d", d.ssn, d.n)
		}
		if d.fin {
			b.WriteString(" DATA_FIN")
		}
	}
	if a := m.addAddr; a != nil {
		fmt.Fprintf(b, " ADD_ADDR %x echo %v", a.body, a.echo)
	}
	if len(m.removeAddr) > 0 {
		fmt.Fprintf(b, " REMOVE_ADDR %v", m.removeAddr)
	}
	if m.prio != nil {
		fmt.Fprintf(b, " MP_PRIO %v", *m.prio)
	}
	if m.fastClose != nil {
		b.WriteString(" MP_FASTCLOSE")
	}
	if m.reset != nil {
		fmt.Fprintf(b, " MP_TCPRST %d", *m.reset)
	}
}

func flagString(f uint8) string {
	var b []byte
	for i, c := range []byte("FSRPAUEC") {
		if f&(1<<i) != 0 {
			b = append(b, c)
		}
	}
	return string(b)
}
