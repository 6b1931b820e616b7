package dataplane

import (
	"fmt"

	"github.com/braid-upf/braid/atsss/proxy"
)

// Connections is what the proxy knows of the connections that were opened over session
// seid, those that linger after their end included: their state, subflows, round trips and
// bytes at one moment between two bursts. It is empty for a session that is not there. The
// worker that serves the session does nothing else while it is asked.
func (p *Plane) Connections(seid uint64) ([]proxy.ConnStatus, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.sessions[seid]
	if r == nil {
		return nil, nil
	}
	var all []proxy.ConnStatus
	err := p.do(r.worker, func(w *worker) {
		s := w.bySEID[seid]
		if s == nil {
			return
		}
		for c := range s.proxy.Conns() {
			all = append(all, proxy.ConnStatus{})
			c.Status(&all[len(all)-1])
		}
	})
	if err != nil {
		return nil, fmt.Errorf("session %#x: %w", seid, err)
	}
	return all, nil
}
