package dsm

// directory lists the leaves of a [Runs] that has at least two, in the order of keys,
// with the head cut off lazily. Each entry has the key that its leaf begins at; that of
// the first is of no concern.
type directory struct {
	entries []entry
	head    int
}

type entry struct {
	at   int64
	leaf *leaf
}

// len is the number of leaves.
func (d *directory) len() int { return len(d.entries) - d.head }

// entry is the k-th entry, 0 <= k < len().
func (d *directory) entry(k int) *entry { return &d.entries[d.head+k] }

// search is the number of the last leaf that begins at or below x; 0 if none does.
func (d *directory) search(x int64) int {
	lo, hi := d.head+1, len(d.entries)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if d.entries[mid].at <= x {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo - 1 - d.head
}

// insert makes l the k-th leaf.
func (d *directory) insert(k int, l *leaf) {
	if len(d.entries) == cap(d.entries) && d.head > len(d.entries)/4 {
		d.truncate(copy(d.entries, d.entries[d.head:]))
		d.head = 0
	}
	k += d.head
	d.entries = append(d.entries, entry{})
	copy(d.entries[k+1:], d.entries[k:])
	d.entries[k] = entry{l.firstKey(), l}
}

// remove takes the k-th leaf off the list.
func (d *directory) remove(k int) {
	k += d.head
	if k == d.head {
		d.entries[k].leaf = nil
		d.head++
		return
	}
	d.truncate(k + copy(d.entries[k:], d.entries[k+1:]))
}

// truncate keeps the first n entries.
func (d *directory) truncate(n int) {
	clear(d.entries[n:])
	d.entries = d.entries[:n]
}
