package dataplane

import "math/bits"

// classifier finds the PDR of a packet among those of one tunnel, or of one session
// downlink: the first that matches, in rising precedence value.
//
// Few filters are tried one after another; the usual session has a PDR or two
// without any. More become bit vectors (Lakshman, Stiliadis 1998): a bit for each
// filter, 64 to a block, and for each field that some filter restricts a table from
// the packet's value to the vector of the filters that it satisfies. The first bit in
// the AND of them all is the answer. Thus a lookup costs about the same for 3 filters
// and for 64; each 64 more add a block that is asked if those before have no answer.
type classifier struct {
	pdrs   []pdr
	blocks *[]block // nil: pdrs are tried one after another
}

// anyQFI stands for the QFI of a packet that did not come through a tunnel: QFIs of
// PDRs do not matter.
const anyQFI = 64

// makeClassifier compiles pdrs, which are in rising precedence value. They belong to
// the classifier from then on: filters and UE addresses that tables hold are taken
// out of them.
func makeClassifier(pdrs []pdr) classifier {
	c := classifier{pdrs: pdrs}
	units := 0
	for i := range pdrs {
		units += max(1, len(pdrs[i].filters()))
	}
	if units < minUnits {
		return c
	}
	var blocks []block
	var some []unit
	for i := range pdrs {
		d := &pdrs[i]
		filters := d.filters()
		if len(filters) == 0 {
			filters = []filter{{}}
		}
		for j := range filters {
			if len(some) == blockUnits {
				blocks = append(blocks, makeBlock(some))
				some = some[:0]
			}
			some = append(some, unit{index: i, qfis: d.qfis, ues: d.ues(), filter: &filters[j]})
		}
	}
	blocks = append(blocks, makeBlock(some))
	c.blocks = &blocks
	for i := range pdrs {
		if m := pdrs[i].more; m != nil {
			m.filters, m.ues = nil, nil
		}
	}
	return c
}

// filters are those of d that stand there.
func (d *pdr) filters() []filter {
	if d.more == nil {
		return nil
	}
	return d.more.filters
}

// ues are the UE addresses of d.
func (d *pdr) ues() []prefix {
	switch {
	case d.flags&only4 != 0:
		return []prefix{{lo: 0xffff<<32 | uint64(d.ue4), maskHi: ^uint64(0), maskLo: ^uint64(0)}}
	case d.more == nil:
		return nil
	}
	return d.more.ues
}

// minUnits is the number of filters from which tables are faster.
const minUnits = 3

// lookup is the PDR of a packet, nil if none matches; spoofed then says that PDRs
// matched but for the UE address. qfi is the packet's, [0, 63], or anyQFI. ip is the
// packet from its IP header on, or nil: then no filter with an SPI or a flow label
// matches.
func (c *classifier) lookup(t *tuple, qfi uint8, ip []byte) (d *pdr, spoofed bool) {
	if c.blocks != nil {
		return c.search(t, qfi, ip)
	}
	for i := range c.pdrs {
		d := &c.pdrs[i]
		if !d.matches(t, qfi, ip) {
			continue
		}
		if d.isFor(t) {
			return d, false
		}
		spoofed = true
	}
	return nil, spoofed
}

// search is lookup with tables.
func (c *classifier) search(t *tuple, qfi uint8, ip []byte) (d *pdr, spoofed bool) {
	blocks := *c.blocks
	for i := range blocks {
		b := &blocks[i]
		but, all := b.match(t, qfi, ip)
		if all != 0 {
			return &c.pdrs[b.owner[bits.TrailingZeros64(all)&(blockUnits-1)]], false
		}
		spoofed = spoofed || but != 0
	}
	return nil, spoofed
}

// matchesAny says whether one of m's filters matches.
func (m *pdrMore) matchesAny(t *tuple, ip []byte) bool {
	for i := range m.filters {
		if f := &m.filters[i]; f.matches(t) && f.deep.matches(ip) {
			return true
		}
	}
	return false
}

// byID is the PDR with this ID, nil if there is none.
func (c *classifier) byID(id uint16) *pdr {
	for i := range c.pdrs {
		if c.pdrs[i].id == id {
			return &c.pdrs[i]
		}
	}
	return nil
}
