package upf

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/braid-upf/braid/pfcp"
)

// T3-RESPONSE and N3-REQUESTS of a GTP-U Echo (TS 29.281 §7.2.1, TS 23.007 §20).
const (
	t3Response = 3 * time.Second
	n3Requests = 3
)

// paths are the GTP-U paths to the far ends of the sessions' outer headers (TS 23.527
// §5): each is asked once in a period whether it is there, and fails when it does not
// answer N3-REQUESTS Echo Requests in a row, each within T3-RESPONSE.
//
// A path that has answered none of our Echo Requests, since there are sessions over
// it, does not fail: access nodes exist that answer none and forward all the same.
type paths struct {
	period time.Duration // between two rounds of one path; 0 = none is asked
	peers  map[netip.Addr]*path
}

// path is one of paths.
//
//	due: the next round begins, or the Echo Request under way is given up
//
//	  quiet --due--> asked=1 --due--> asked=2 --due--> asked=3 --due--> failed, if it has ever answered
//	    ^_______________|_______answer___|________________|
type path struct {
	sessions map[string]int // how many sessions of each node lead there
	began    time.Time      // the round under way, or the last one
	due      time.Time
	asked    int  // Echo Requests of this round; 0 = quiet
	answered bool // it has answered since there are sessions over it
	failed   bool
}

func newPaths(period time.Duration) paths {
	return paths{period: period, peers: map[netip.Addr]*path{}}
}

// replace lets a session of node, which had the far ends old, have peers.
func (p *paths) replace(node string, old, peers []netip.Addr, now time.Time) {
	if slices.Equal(old, peers) {
		return
	}
	for _, a := range peers {
		p.add(a, node, now)
	}
	for _, a := range old {
		p.drop(a, node)
	}
}

// hand moves a session with these far ends from one node to another.
func (p *paths) hand(peers []netip.Addr, from, to string) {
	for _, a := range peers {
		p.add(a, to, time.Time{})
		p.drop(a, from)
	}
}

func (p *paths) add(a netip.Addr, node string, now time.Time) {
	w := p.peers[a]
	if w == nil {
		w = &path{sessions: map[string]int{}, due: now}
		p.peers[a] = w
	}
	w.sessions[node]++
}

func (p *paths) drop(a netip.Addr, node string) {
	w := p.peers[a]
	if w.sessions[node]--; w.sessions[node] == 0 {
		delete(w.sessions, node)
	}
	if len(w.sessions) == 0 {
		delete(p.peers, a)
	}
}

// farEnds are the addresses that the outer headers of r lead to, each once.
func (r ruleSet) farEnds() []netip.Addr {
	var as []netip.Addr
	take := func(w *pfcp.Forwarding) {
		if w == nil || w.OuterHeader == nil {
			return
		}
		if h, _ := tunnelOf(w); h != nil && !slices.Contains(as, h.Peer.Addr()) {
			as = append(as, h.Peer.Addr())
		}
	}
	for _, f := range r.fars {
		take(f.Forwarding)
		if *f.ApplyAction&pfcp.ActionDUPL == 0 {
			continue
		}
		for i := range f.Duplicates {
			take(&f.Duplicates[i])
		}
	}
	return as
}

// step does what is due: it returns whom to send an Echo Request to, and whose path
// has failed.
func (p *paths) step(now time.Time) (ask, failed []netip.Addr) {
	for a, w := range p.peers {
		switch {
		case now.Before(w.due):
		case w.asked < n3Requests:
			if w.asked == 0 {
				w.began = now
			}
			w.asked++
			w.due = now.Add(t3Response)
			ask = append(ask, a)
		default:
			if w.answered && !w.failed {
				w.failed = true
				failed = append(failed, a)
			}
			w.rest(p.period, now)
		}
	}
	return ask, failed
}

// rest ends a round.
func (w *path) rest(period time.Duration, now time.Time) {
	w.asked = 0
	if w.due = w.began.Add(period); w.due.Before(now) {
		w.due = now
	}
}

// answer notes an Echo Response, and says whether a failed path is there again.
func (p *paths) answer(a netip.Addr, now time.Time) (recovered bool) {
	w := p.peers[a]
	if w == nil || w.asked == 0 {
		return false // nobody asked it
	}
	recovered = w.failed
	w.answered, w.failed = true, false
	w.rest(p.period, now)
	return recovered
}

// concerned are the nodes that have sessions over the path to a.
func (p *paths) concerned(a netip.Addr) []string {
	w := p.peers[a]
	if w == nil {
		return nil
	}
	return slices.Collect(maps.Keys(w.sessions))
}

// pathTick is how often the paths are looked at.
const pathTick = 250 * time.Millisecond

// supervisePaths starts to look after the paths, if the config says so.
func (s *Server) supervisePaths() {
	if s.cfg.Braid.Echo <= 0 {
		return
	}
	s.running.Go(func() {
		tick := time.NewTicker(pathTick)
		defer tick.Stop()
		for {
			select {
			case <-s.ctx.Done():
				return
			case now := <-tick.C:
				s.stepPaths(now)
			}
		}
	})
}

// stepPaths does what is due at now.
func (s *Server) stepPaths(now time.Time) {
	s.mu.Lock()
	ask, failed := s.paths.step(now)
	for _, a := range failed {
		s.log.Warn("user plane path has failed", "peer", a)
	}
	s.reportPaths(failed, false)
	s.mu.Unlock()
	for _, a := range ask {
		if err := s.plane.Echo(a); err != nil {
			s.log.Warn("echo request", "peer", a, "err", err)
		}
	}
}

// echoAnswered takes an Echo Response of a.
func (s *Server) echoAnswered(a netip.Addr, now time.Time) {
	if s.paths.answer(a, now) {
		s.log.Info("user plane path is there again", "peer", a)
		s.reportPaths([]netip.Addr{a}, true)
	}
}
