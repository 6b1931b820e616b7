package dataplane

import (
	"errors"
	"fmt"
	"slices"

	"github.com/braid-upf/braid/packet"
)

// Install makes r the rules of session r.SEID from the worker's next burst on; when
// it returns nil they are in force. On an error nothing has changed: the rules are
// contradictory, an identifier is another session's ([ErrTEIDInUse],
// [ErrUEAddrInUse]), steering is full, or the plane has stopped. r must not change afterwards.
// It returns the last readings of the URRs that r has no more.
func (p *Plane) Install(r *Rules) ([]Usage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == stopped {
		return nil, ErrStopped
	}
	rs, err := p.compile(r)
	if err != nil {
		return nil, fmt.Errorf("session %#x: %w", r.SEID, err)
	}
	next := &record{worker: p.home(r.Slot()), ues: rs.ues}
	for i := range rs.tunnels {
		next.teids = append(next.teids, rs.tunnels[i].teid)
	}
	if err := p.checkFree(r.SEID, next); err != nil {
		return nil, fmt.Errorf("session %#x: %w", r.SEID, err)
	}
	old := p.sessions[r.SEID]
	if old == nil {
		old = &record{worker: next.worker}
	}
	// New identifiers lead to the worker before it knows them; packets that come
	// meanwhile are of nobody, as they were. Old ones go after it has let go.
	if err := p.claim(r.SEID, old, next); err != nil {
		return nil, fmt.Errorf("session %#x: %w", r.SEID, err)
	}
	var gone []Usage
	var lentTo uint64
	if err := p.do(next.worker, func(w *worker) {
		lentTo = w.recall(r.SEID, rs)
		gone = w.install(r.SEID, rs)
	}); err != nil {
		return nil, errors.Join(fmt.Errorf("session %#x: %w", r.SEID, err), p.disclaim(next, old))
	}
	p.sessions[r.SEID] = next
	return gone, errors.Join(p.endGuests(r.SEID, next.worker, lentTo), p.disclaim(old, next))
}

// Remove takes the session out; its connections are forgotten. It returns the last
// readings of its URRs. A session that is not there is no error.
func (p *Plane) Remove(seid uint64) ([]Usage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.sessions[seid]
	if old == nil {
		return nil, nil
	}
	var last []Usage
	var lentTo uint64
	if err := p.do(old.worker, func(w *worker) {
		lentTo = w.recall(seid, nil)
		last = w.remove(seid)
	}); err != nil {
		return nil, fmt.Errorf("session %#x: %w", seid, err)
	}
	delete(p.sessions, seid)
	return last, errors.Join(p.endGuests(seid, old.worker, lentTo), p.disclaim(old, &record{}))
}

// checkFree says whether no other session than seid has next's identifiers.
func (p *Plane) checkFree(seid uint64, next *record) error {
	for _, t := range next.teids {
		if o, ok := p.teids[t]; ok && o != seid {
			return fmt.Errorf("TEID %#08x: %w (%#x)", t, ErrTEIDInUse, o)
		}
	}
	for _, k := range next.ues {
		if o, ok := p.ues[k]; ok && o != seid {
			return fmt.Errorf("UE address %v: %w (%#x)", k.prefix(), ErrUEAddrInUse, o)
		}
	}
	return nil
}

// claim steers what next has and old has not, all or nothing.
func (p *Plane) claim(seid uint64, old, next *record) error {
	done := record{worker: next.worker}
	for _, t := range next.teids {
		if slices.Contains(old.teids, t) {
			continue
		}
		if err := p.set.SteerTEID(t, next.worker); err != nil {
			return errors.Join(fmt.Errorf("steer TEID %#08x: %w", t, err), p.disclaim(&done, &record{}))
		}
		p.teids[t] = seid
		p.teidOwners.set(uint64(t), t, next.worker)
		done.teids = append(done.teids, t)
	}
	for _, k := range next.ues {
		if slices.Contains(old.ues, k) {
			continue
		}
		if err := p.set.SteerUE(k.prefix(), next.worker); err != nil {
			return errors.Join(fmt.Errorf("steer UE address %v: %w", k.prefix(), err), p.disclaim(&done, &record{}))
		}
		p.ues[k] = seid
		p.claimUE(k, next.worker)
		done.ues = append(done.ues, k)
	}
	return nil
}

// claimUE enters k in ueOwners.
func (p *Plane) claimUE(k ueKey, worker int) {
	if old := *p.ueLengths.Load(); !slices.Contains(old, k.bits) {
		lengths := append(slices.Clone(old), k.bits)
		slices.Sort(lengths)
		slices.Reverse(lengths)
		p.ueLengths.Store(&lengths)
	}
	p.ueOwners.set(k.hash(), k, worker)
}

// disclaim undoes claim for what old has and next has not.
func (p *Plane) disclaim(old, next *record) error {
	var errs []error
	for _, t := range old.teids {
		if !slices.Contains(next.teids, t) {
			errs = append(errs, p.set.ForgetTEID(t))
			delete(p.teids, t)
			p.teidOwners.forget(uint64(t), t)
		}
	}
	for _, k := range old.ues {
		if !slices.Contains(next.ues, k) {
			errs = append(errs, p.set.ForgetUE(k.prefix()))
			delete(p.ues, k)
			p.ueOwners.forget(k.hash(), k)
		}
	}
	return errors.Join(errs...)
}

// ueOwner is the worker that has a, for any worker to ask.
func (p *Plane) ueOwner(a *packet.Addr) (int, bool) {
	for _, n := range *p.ueLengths.Load() {
		k := keyOf(a, n)
		if w, ok := p.ueOwners.get(k.hash(), k); ok {
			return w, true
		}
	}
	return 0, false
}
