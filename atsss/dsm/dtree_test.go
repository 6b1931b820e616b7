package dsm

// dTree is the paper's store (FlexCP §3.2): a red-black tree by position whose nodes have
// the SSN, merged on insertion; the acknowledged left part is removed by one split, put
// off until it reaches over the root.
//
//	            [40,50)
//	    [20,30)         [60,70)
//	[10,20)  [30,35)                 floor = 33: what is below is released
//
// SSN lookups use that the SSNs of one subflow rise with the positions; data that were
// moved to another subflow break this and are kept beside the tree (Equiv-SSN).
type dTree struct {
	t     rbTree
	floor int64 // every key below is released; 0 = none was
	moved [2]sliceStore
}

// search is the first node that ends after x; 0 if there is none.
func (d *dTree) search(x int64) (found int32) {
	n := d.t.nodes
	for y := d.t.root; y != 0; {
		if n[y].run.End() > x {
			found, y = y, n[y].left
		} else {
			y = n[y].right
		}
	}
	return found
}

func (d *dTree) Next(x int64) (r Run, ok bool) {
	y := d.search(max(x, d.floor))
	if y == 0 {
		return Run{}, false
	}
	return d.t.nodes[y].run.after(d.floor), true
}

func (d *dTree) At(x int64) (r Run, ok bool) {
	if r, ok = d.Next(x); ok && r.At <= x {
		return r, true
	}
	return Run{}, false
}

func (d *dTree) Append(r Run) {
	if r.At < d.floor {
		d.split()
	}
	d.put(0, r)
}

// put puts r, whose keys are free, before node y, or at the end if y is 0, and merges it
// with its neighbours.
func (d *dTree) put(y int32, r Run) {
	n := d.t.nodes
	p := d.t.previous(y)
	before := p != 0 && n[p].run.continues(r)
	behind := y != 0 && r.continues(n[y].run)
	switch {
	case before && behind:
		n[p].run.N += r.N + n[y].run.N
		d.t.remove(y)
	case before:
		n[p].run.N += r.N
	case behind:
		r.N += n[y].run.N
		n[y].run = r
	default:
		d.t.insertBefore(y, r)
	}
}

func (d *dTree) Insert(r Run) {
	if r.At < d.floor {
		d.split()
	}
	for r.N > 0 {
		y := d.search(r.At)
		if y == 0 {
			d.Append(r)
			return
		}
		next := d.t.nodes[y].run
		if next.At > r.At {
			d.put(y, r.first(next.At-r.At))
		}
		r = r.after(next.End())
	}
}

func (d *dTree) Replace(r Run) {
	d.Remove(r.At, r.End())
	d.Insert(r)
}

func (d *dTree) Remove(from, to int64) {
	for from = max(from, d.floor); from < to; {
		y := d.search(from)
		if y == 0 || d.t.nodes[y].run.At >= to {
			return
		}
		r := d.t.nodes[y].run
		left, right := r.first(max(0, from-r.At)), r.after(to)
		switch {
		case left.N > 0:
			d.t.nodes[y].run = left
			if right.N > 0 {
				d.t.insertBefore(d.t.next(y), right)
			}
		case right.N > 0:
			d.t.nodes[y].run = right
		default:
			d.t.remove(y)
		}
		from = r.End()
	}
}

func (d *dTree) ReleaseTo(x int64) {
	d.floor = max(d.floor, x)
	if root := d.t.root; root != 0 && d.t.nodes[root].run.End() <= d.floor {
		d.t.removeLeft(d.floor)
	}
	for i := range d.moved {
		m := &d.moved[i]
		for m.Len() > 0 && m.Get(0).To+m.Get(0).N <= x {
			m.ReleaseTo(m.Get(0).End())
		}
	}
}

// split removes what is released now.
func (d *dTree) split() {
	d.t.removeLeft(d.floor)
	if y := d.t.leftmost(d.t.root); y != 0 {
		d.t.nodes[y].run = d.t.nodes[y].run.after(d.floor)
	}
	d.floor = 0
}

// bySSN is the position that SSN ssn of subflow sub is mapped to.
func (d *dTree) bySSN(sub uint8, ssn int64) (x int64, ok bool) {
	n := d.t.nodes
	end := int64(1 << 62) // the keys below y are lower
	for y := d.t.root; y != 0; {
		z := y
		for z != 0 && n[z].run.Sub != sub && n[z].run.At < end {
			z = d.t.next(z) // the next node of the subflow stands for one of another
		}
		switch r := n[z].run; {
		case z == 0 || r.At >= end || ssn < r.To:
			end, y = n[y].run.At, n[y].left
		case ssn < r.To+r.N:
			x = r.At + ssn - r.To
			return x, x >= d.floor
		default:
			y = n[y].right
		}
	}
	r, ok := d.moved[sub].At(ssn)
	return r.ToOf(ssn), ok
}

// move gives SSNs of another subflow to positions that keep theirs in the tree.
func (d *dTree) move(x, ssn, n int64, sub uint8) {
	d.moved[sub].Append(Run{At: ssn, To: x, N: n, Sub: sub})
}

func (d *dTree) size() int { return cap(d.t.nodes) }

func (d *dTree) check() error { return d.t.check() }
