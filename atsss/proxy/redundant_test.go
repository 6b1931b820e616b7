package proxy

import (
	"math/rand/v2"
	"testing"

	"github.com/braid-upf/braid/atsss/dsm"
	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// setMode gives the connection's rule another steering mode, 3GPP first.
func (h *harness) setMode(m steer.Mode) {
	p := *h.rule.Policy
	p.Mode, p.Split, p.Priority = m, steer.Split{}, [2]steer.Priority{steer.Active, steer.Standby}
	if m == steer.Redundant {
		p.Priority = [2]steer.Priority{steer.Primary, steer.Secondary}
	}
	h.rule.Policy = &p
}

// redundant is a connection in Redundant mode with a subflow on each access. SSNs of the
// join are one higher: the confirming byte was the first.
func redundant(t testing.TB) *harness {
	h := newHarness(t)
	h.connect()
	h.join()
	h.setMode(steer.Redundant)
	return h
}

// ackOn has the UE acknowledge SSNs below ssn on a subflow, and positions below d.
func (h *harness) ackOn(sub int, ssn, d int64) {
	h.up(steer.Access(sub), h.fromUE(sub, packet.ACK, 0, h.dss(nil, d), ssn, nil))
}

func TestRedundantCopies(t *testing.T) {
	h := redundant(t)
	h.serverData(0, 1000)
	h.want("ue1 ssn=2+1000 ack=1 dack=0 map=0@2+1000", "ue0 ssn=1+1000 ack=1 dack=0 map=0@1+1000")
	h.ackOn(0, 1001, 1000)
	h.want("srv u=0 ack=1000")
	h.ackOn(1, 1002, 1000) // the copy: nothing that the server does not know
	h.want()
	if c := h.conn(); !c.down.runs.Empty() || !c.down.copies.Empty() || !c.subflows[0].down.Empty() || !c.subflows[1].down.Empty() {
		t.Error("mappings are left of data that were acknowledged on both subflows")
	}
	if got := h.p.count.Copied; got != 1000 {
		t.Errorf("copied_bytes = %d, want 1000", got)
	}
}

// TestRedundantHole: a packet that is late on N6 keeps its place on both subflows.
func TestRedundantHole(t *testing.T) {
	h := redundant(t)
	h.serverData(1000, 1000)
	h.want("ue1 ssn=1002+1000 ack=1 dack=0 map=1000@1002+1000", "ue0 ssn=1001+1000 ack=1 dack=0 map=1000@1001+1000")
	h.serverData(0, 1000)
	h.want("ue1 ssn=2+1000 ack=1 dack=0 map=0@2+1000", "ue0 ssn=1+1000 ack=1 dack=0 map=0@1+1000")
}

// TestRedundantLoss: what one subflow lost and the other brought is filled; what both
// lost the server sends again, on both at its old place.
func TestRedundantLoss(t *testing.T) {
	h := redundant(t)
	for i := range int64(3) {
		h.serverData(1000*i, 1000)
	}
	h.recycle()
	h.ackOn(1, 3002, 3000) // all arrived on the second subflow,
	h.want("srv u=0 ack=3000")
	h.up(0, h.fromUESACK(0, 1001, 3000, 2001, 3001)) // on the first all but 1000-2000
	h.want("ue0 ssn=1001+1000 ack=1 dack=0 map=1000@1001+1000")
	if got := h.p.count.Filled; got != 1001 { // with the byte that confirmed the join
		t.Errorf("filled_bytes = %d, want 1001", got)
	}
	h.ackOn(0, 3001, 3000)
	h.want()

	for i := range int64(3) {
		h.serverData(3000+1000*i, 1000)
	}
	h.recycle()
	h.up(0, h.fromUESACK(0, 3001, 3000, 4001, 5001)) // both lost 3000-4000, the second 5000-6000 as well
	h.want("srv u=0 ack=3000 sack=4000-5000")
	h.up(1, h.fromUESACK(1, 3002, 3000, 4002, 5002))
	h.want()
	h.up(0, h.fromUESACK(0, 3001, 3000, 4001, 6001))
	h.want("srv u=0 ack=3000 sack=4000-6000")
	h.serverData(3000, 1000)
	h.want("ue1 ssn=3002+1000 ack=1 dack=0 map=3000@3002+1000", "ue0 ssn=3001+1000 ack=1 dack=0 map=3000@3001+1000")
	h.serverData(5000, 1000) // only where it is missing
	h.want("ue1 ssn=5002+1000 ack=1 dack=0 map=5000@5002+1000")
}

// TestRedundantTail: nothing reports what is lost behind the last packet that arrived; the
// timer finds out.
func TestRedundantTail(t *testing.T) {
	h := redundant(t)
	h.serverData(0, 1000)
	h.recycle()
	h.ackOn(0, 1001, 1000)
	h.want("srv u=0 ack=1000")
	for i := 0; i < 100 && h.p.count.Filled < 1000; i++ {
		h.recycle() // a probe, perhaps
		h.now += Time(TickInterval)
		h.p.Tick(h.now, &h.out)
		h.up(1, h.fromUE(1, packet.ACK, 0, h.dss(nil, 1000), 2, nil)) // its answer
	}
	h.want("ue1 ssn=2+1000 ack=1 dack=0 map=0@2+1000")
	h.ackOn(1, 1002, 1000)
	h.want()
	if h.conn().available() != steer.SetOf(0, 1) {
		t.Error("the subflow gets no copies after it has everything")
	}
}

// fromUESACK is an ACK of the UE that SACKs SSNs from-to.
func (h *harness) fromUESACK(sub int, ackSSN, d, from, to int64) *packet.Buffer {
	var o options
	o.timestamps(h.tsUE, h.tsServer)
	o.sack([]dsm.Range{{From: from, To: to}}, h.isns[sub][1])
	return h.build(shape{
		src: &h.ue, dst: &h.srv, srcPort: h.uePorts[sub], dstPort: 80, sn: h.isns[sub][0] + 1,
		ack: h.isns[sub][1] + uint32(ackSSN), flags: packet.ACK, window: 65535,
	}, append(wordBytes(&o), h.dss(nil, d)...), nil)
}

// TestRedundantSwitch changes the mode in the middle, both ways: data keep the places that
// they were given.
func TestRedundantSwitch(t *testing.T) {
	h := redundant(t)
	h.setMode(steer.ActiveStandby)
	h.serverData(0, 1000)
	h.want("ue0 ssn=1+1000 ack=1 dack=0 map=0@1+1000")
	h.setMode(steer.Redundant)
	h.serverData(1000, 1000)
	h.want("ue1 ssn=2+1000 ack=1 dack=0 map=1000@2+1000", "ue0 ssn=1001+1000 ack=1 dack=0 map=1000@1001+1000")
	h.setMode(steer.ActiveStandby)
	h.serverData(2000, 1000)
	h.want("ue0 ssn=2001+1000 ack=1 dack=0 map=2000@2001+1000")
	h.serverData(500, 1000) // sent again over the first change: one place, then two
	h.want("ue0 ssn=501+500 ack=1 dack=0 map=500@501+500",
		"ue1 ssn=2+500 ack=1 dack=0 map=1000@2+500", "ue0 ssn=1001+500 ack=1 dack=0 map=1000@1001+500")
	h.serverData(1500, 1000) // and over the second
	h.want("ue1 ssn=502+500 ack=1 dack=0 map=1500@502+500", "ue0 ssn=1501+500 ack=1 dack=0 map=1500@1501+500",
		"ue0 ssn=2001+500 ack=1 dack=0 map=2000@2001+500")
	h.ackOn(0, 3001, 3000)
	h.want("srv u=0 ack=3000")
	h.ackOn(1, 1002, 3000)
	h.want()
}

// TestRedundantOneSubflow: with one subflow the mode is as any other, and a join gets
// copies from its confirmation on.
func TestRedundantOneSubflow(t *testing.T) {
	h := newHarness(t)
	h.setMode(steer.Redundant)
	h.connect()
	h.serverData(0, 1000)
	h.want("ue0 ssn=1+1000 ack=1 dack=0 map=0@1+1000")
	h.join()
	h.serverData(1000, 500)
	h.want("ue1 ssn=2+500 ack=1 dack=0 map=1000@2+500", "ue0 ssn=1001+500 ack=1 dack=0 map=1000@1001+500")
}

// TestRedundantDeath: an access dies under copies and returns.
func TestRedundantDeath(t *testing.T) {
	for dead := range 2 {
		h := redundant(t)
		sent, ssn := int64(0), [2]int64{1, 2}
		alive := 1 - dead
		step := func(copies bool) {
			t.Helper()
			h.serverData(sent, 1000)
			sent += 1000
			ssn[alive] += 1000
			want := 1
			if copies {
				want = 2
				ssn[dead] += 1000
			}
			if n := len(h.out.ToUE); n != want {
				t.Fatalf("at %d: %d packets to the UE, want %d", sent, n, want)
			}
			h.recycle()
			h.ackOn(alive, ssn[alive], sent)
			if n := len(h.out.ToN6); n != 1 {
				t.Fatalf("at %d: %d ACKs to the server, want 1", sent, n)
			}
			h.recycle()
			h.now += Time(TickInterval)
			h.p.Tick(h.now, &h.out)
			h.recycle()
		}
		step(true)
		n := 0
		for h.session.Answers(steer.Access(dead)) && n < 100 {
			step(h.conn().available().Has(steer.Access(dead)))
			n++
		}
		if n == 0 || n == 100 {
			t.Fatalf("access %d is silent after %d intervals", dead, n)
		}
		step(false)
		lost := ssn[dead]
		// It answers again: its holes are filled, then it gets copies.
		h.ackOn(dead, int64(1+dead), sent)
		for i := 0; i < 200 && h.conn().subflows[dead].path.recoverTo != 0; i++ {
			for _, x := range h.out.ToUE {
				if g := h.segment(x.Buf); g.in.DstPort == h.uePorts[dead] && len(g.payload) > 1 {
					end := int64(g.tcp.SN()-h.isns[dead][1]) + int64(len(g.payload))
					ssn[dead] = max(ssn[dead], end)
				}
			}
			h.recycle()
			h.ackOn(dead, min(lost, h.conn().subflows[dead].next), sent)
		}
		h.recycle()
		step(true)
	}
}

// TestRedundantWithoutSACK: an ACK of a copy is no duplicate ACK to the server.
func TestRedundantWithoutSACK(t *testing.T) {
	h := redundant(t)
	h.conn().sackPermitted = false
	for i := range int64(5) {
		h.serverData(1000*i, 1000)
	}
	h.recycle()
	for i := range int64(4) {
		h.ackOn(0, 1001+1000*i, 1000+1000*i)
		h.recycle()
		h.ackOn(1, 1002+1000*i, 1000+1000*i)
		h.want()
	}
	h.ackOn(0, 4001, 4000)
	h.want("srv u=0 ack=4000") // this one is a duplicate
	h.ackOn(0, 5001, 5000)
	h.want("srv u=0 ack=5000")
	for range 3 { // what is missing on one subflow alone is not missing
		h.ackOn(1, 4002, 5000)
		h.want()
	}
}

// TestRedundantUnmap: the two stores against a map of positions to places.
func TestRedundantUnmap(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 500 {
		var l downlink
		var m dsm.Pool
		model := map[int64]map[uint8]int64{} // position to subflow to SSN
		at, ssn := int64(0), [3]int64{1, 1, 1}
		for at < 60 {
			n := 1 + r.Int64N(8)
			first := uint8(r.IntN(3))
			second := (first + 1 + uint8(r.IntN(2))) % 3
			twice := r.IntN(2) == 0
			l.runs.Append(&m, dsm.Run{At: at, To: ssn[first], N: n, Sub: first})
			if twice {
				l.copies.Append(&m, dsm.Run{At: at, To: ssn[second], N: n, Sub: second})
			}
			for x := at; x < at+n; x++ {
				model[x] = map[uint8]int64{first: ssn[first] + x - at}
				if twice {
					model[x][second] = ssn[second] + x - at
				}
			}
			ssn[first] += n
			if twice {
				ssn[second] += n
			}
			at += n
		}
		for range 10 {
			from, sub := r.Int64N(at), uint8(r.IntN(3))
			to := min(at, from+r.Int64N(15))
			all := r.IntN(4) == 0
			if all {
				l.forget(&m, from, to)
			} else {
				l.unmap(&m, sub, from, to)
			}
			for x := from; x < to; x++ {
				delete(model[x], sub)
				if all {
					clear(model[x])
				}
			}
			checkPlaces(t, &l, model)
		}
	}
}

func checkPlaces(t *testing.T, l *downlink, model map[int64]map[uint8]int64) {
	t.Helper()
	for x, places := range model {
		for sub := range uint8(3) {
			want, ok := places[sub]
			if got, has := l.on(sub, x); has != ok || has && got != want {
				t.Fatalf("position %d on subflow %d: %d, %v, want %d, %v", x, sub, got, has, want, ok)
			}
		}
		_, first := l.runs.At(x)
		_, second := l.copies.At(x)
		if first != (len(places) > 0) || second != (len(places) > 1) {
			t.Fatalf("position %d has %d places, is in runs %v, in copies %v", x, len(places), first, second)
		}
	}
}

// TestRedundantAllocates: a copy costs no allocation.
func TestRedundantAllocates(t *testing.T) {
	h := redundant(t)
	payload := make([]byte, 1368)
	sent := int64(0)
	got := testing.AllocsPerRun(1000, func() {
		h.down(h.fromServer(packet.ACK, sent, 0, payload))
		sent += int64(len(payload))
		h.ackOn(0, sent+1, sent)
		h.ackOn(1, sent+2, sent)
		h.recycle()
	})
	if got != 0 {
		t.Errorf("a packet, its copy and their ACKs allocate %v times, want 0", got)
	}
	if h.p.count.Copied != uint64(sent) {
		t.Errorf("%d bytes copied of %d", h.p.count.Copied, sent)
	}
}
