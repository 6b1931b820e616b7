package sim

import "testing"

func TestAgg(t *testing.T) {
	sum := map[string]uint64{}
	var cs clientStats
	var ts tcpStats
	var ws watchStats
	n := 0
	for i := range uint64(*seeds) {
		r := Run(FromSeed(*first + i))
		n += r.Packets
		for k, v := range r.Counters {
			sum[k] += v
		}
		for _, c := range r.Clients {
			cs.Joined += c.Joined
			cs.Reinjected += c.Reinjected
			cs.DuplicateData += c.DuplicateData
			cs.StaleSubflows += c.StaleSubflows
		}
		for _, s := range r.Servers {
			ts.Retransmitted += s.Retransmitted
			ts.Timeouts += s.Timeouts
			ts.Sent += s.Sent
		}
		for _, w := range r.Watches {
			ws.Fillers += w.Fillers
			ws.Remapped += w.Remapped
			ws.Solicits += w.Solicits
		}
	}
	t.Logf("packets %d\n%v\n%+v\n%+v\n%+v", n, sum, cs, ts, ws)
}
