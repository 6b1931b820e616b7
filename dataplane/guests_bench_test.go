package dataplane

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/braid-upf/braid/dataplane/driver"
	"github.com/braid-upf/braid/packet"
)

// stream is a driver that brings what make gives, MaxBurst a burst, and sends into nothing.
type stream struct {
	generator
	make func(rx *driver.Burst, pool *packet.Pool) // the next burst; nil = nothing comes
}

func (s *stream) Receive(rx *driver.Burst, pool *packet.Pool, _ time.Duration) error {
	rx.Reset()
	if s.make != nil {
		s.make(rx, pool)
		s.make = nil
	}
	return nil
}

// guestStream has a phone with B there send and receive over B: its workers take bursts in
// turn, on one goroutine, so what is measured is the work of both.
type guestStream struct {
	*phone
	drivers [2]stream
	segment []byte // the server's, of 1,400 bytes
	ack     []byte // the UE's G-PDU
	d       uint32 // next position of the server
	data    []byte // the UE's G-PDU with data
	u       uint32 // next position of the UE
	acked   []byte // the server's ACK

	// Method values, made once.
	serverData, serverACK, ueData, ueACK func(rx *driver.Burst, pool *packet.Pool)
}

const benchPayload = 1400 - 40

func newGuestStream(tb testing.TB, seid uint64) *guestStream {
	p := newPhone(tb, seid, rulesA(), rulesB(seid))
	p.connect()
	p.join()
	g := &guestStream{phone: p}
	g.serverData, g.serverACK, g.ueData, g.ueACK = g.makeServerData, g.makeServerACK, g.makeUEData, g.makeUEACK
	for i, w := range p.plane.workers {
		g.drivers[i].peer = driver.MakePeer(n3iwf)
		w.drv = &g.drivers[i]
	}
	g.segment = tcpSegment(server, ue1, 80, portA, 0, ueISNA+1, packet.ACK, nil, make([]byte, benchPayload))
	g.ack = gpdu(teidB, qfiB, tcpSegment(ue2, server, portB, 80, ueISNB+1, 0, packet.ACK, p.dss(0, 0, 0, 0), nil))
	g.data = gpdu(teidB, qfiB, tcpSegment(ue2, server, portB, 80, 0, p.joinISN+2, packet.ACK, p.dss(0, 0, 1, benchPayload), make([]byte, benchPayload)))
	g.acked = tcpSegment(server, ue1, 80, portA, serverISN+1, 0, packet.ACK, nil, nil)
	return g
}

// step has both workers work until nothing is left to do.
func (g *guestStream) step() {
	for range 2 {
		for _, w := range g.plane.workers {
			if err := w.drv.Receive(&w.rx, w.pool, 0); err != nil {
				panic(err)
			}
			w.burst()
		}
	}
}

// once brings one burst to a worker.
func (g *guestStream) once(worker int, make func(rx *driver.Burst, pool *packet.Pool)) {
	g.drivers[worker].make = make
	g.step()
}

func fillIn(pool *packet.Pool, b []byte) *packet.Buffer {
	buf := pool.Get()
	buf.SetLen(copy(buf.Room(), b))
	buf.Checksum = packet.ChecksumVerified
	return buf
}

// downlink is a burst of the server's, of 45 segments (the window), and the UE's
// acknowledgment of them.
func (g *guestStream) downlink() {
	g.once(0, g.serverData)
	g.once(g.plane.home(uint16(g.seidB%NumSlots)), g.ueACK)
}

const benchBurst = 45

func (g *guestStream) makeServerData(rx *driver.Burst, pool *packet.Pool) {
	for range benchBurst {
		b := fillIn(pool, g.segment)
		binary.BigEndian.PutUint32(b.Bytes()[24:], serverISN+1+g.d)
		g.d += benchPayload
		rx.N6 = append(rx.N6, b)
	}
}

func (g *guestStream) makeUEACK(rx *driver.Burst, pool *packet.Pool) {
	b := fillIn(pool, g.ack)
	tcp := b.Bytes()[16+20:]
	binary.BigEndian.PutUint32(tcp[8:], g.joinISN+2+g.d)
	binary.BigEndian.PutUint32(tcp[20+4:], uint32(g.idsnB)+1+g.d)
	checksum(b.Bytes()[16:])
	rx.N3 = append(rx.N3, driver.N3Packet{Buf: b, Peer: &g.drivers[0].peer})
}

// uplink is a burst of the UE's and the server's acknowledgment of it.
func (g *guestStream) uplink() {
	g.once(g.plane.home(uint16(g.seidB%NumSlots)), g.ueData)
	g.once(0, g.serverACK)
}

func (g *guestStream) makeUEData(rx *driver.Burst, pool *packet.Pool) {
	for range benchBurst {
		b := fillIn(pool, g.data)
		tcp := b.Bytes()[16+20:]
		binary.BigEndian.PutUint32(tcp[4:], ueISNB+1+g.u)
		binary.BigEndian.PutUint64(tcp[20+8:], uint64(g.idsnA)+1+uint64(g.u))
		binary.BigEndian.PutUint32(tcp[20+16:], 1+g.u)
		g.u += benchPayload
		rx.N3 = append(rx.N3, driver.N3Packet{Buf: b, Peer: &g.drivers[0].peer})
	}
}

func (g *guestStream) makeServerACK(rx *driver.Burst, pool *packet.Pool) {
	b := fillIn(pool, g.acked)
	binary.BigEndian.PutUint32(b.Bytes()[28:], ueISNA+1+g.u)
	checksum(b.Bytes())
	rx.N6 = append(rx.N6, b)
}

var guestBursts = []struct {
	name string
	run  func(*guestStream)
	sent func(*Plane) uint64
}{
	{"downlink", (*guestStream).downlink, func(p *Plane) uint64 { return p.Counters()["downlink_non_3gpp_packets"] }},
	{"uplink", (*guestStream).uplink, func(p *Plane) uint64 { return p.Counters()["n6_sent_packets"] }},
}

func TestGuestsAllocs(t *testing.T) {
	for _, home := range homes {
		for _, way := range guestBursts {
			g := newGuestStream(t, home.seid)
			for range 2 * handOverSlots(2) { // every slot of the ring gets its buffer
				way.run(g)
			}
			before := way.sent(g.plane)
			const runs = 100
			if n := testing.AllocsPerRun(runs, func() { way.run(g) }); n != 0 {
				t.Errorf("%s, %s: %v allocations for %d packets", way.name, home.name, n, benchBurst)
			}
			if got := way.sent(g.plane) - before; got < (runs+1)*benchBurst {
				t.Errorf("%s, %s: %d packets came through, want %d", way.name, home.name, got, (runs+1)*benchBurst)
			}
		}
	}
}

// BenchmarkGuest is a packet of 1,400 bytes over B, with its share of the acknowledgments,
// one for 45 packets: the work of both workers where B lives at the other one.
func BenchmarkGuest(b *testing.B) {
	for _, way := range guestBursts {
		for _, home := range homes {
			b.Run(way.name+"/"+home.name, func(b *testing.B) {
				g := newGuestStream(b, home.seid)
				for range 2 * handOverSlots(2) {
					way.run(g)
				}
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if i%benchBurst == 0 {
						way.run(g)
					}
				}
			})
		}
	}
}
