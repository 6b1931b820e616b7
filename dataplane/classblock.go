package dataplane

import "math/bits"

// blockUnits is the number of filters in a block: the bits of a vector.
const blockUnits = 64

// unit is a filter of a PDR, or a PDR without filters: one bit of a block's vectors.
type unit struct {
	index  int // of the PDR in the classifier's
	qfis   uint64
	ues    []prefix
	filter *filter
}

// block is up to blockUnits units compiled. A table is nil if no unit restricts its
// field.
type block struct {
	all   uint64 // a bit for each unit
	owner [blockUnits]uint16

	proto, tos, qfi       *byteTable
	remotePort, localPort *portTable
	remote, local, ues    *addrTable

	deep  uint64       // units with a deepFilter that is not any
	deeps []deepFilter // theirs, rising units
}

// match gives the units that match, and those that match but for the UE address.
func (b *block) match(t *tuple, qfi uint8, ip []byte) (but, all uint64) {
	m := b.all
	if b.proto != nil {
		m &= b.proto.vector(t.proto)
	}
	if b.remote != nil {
		m &= b.remote.vector(&t.remote)
	}
	if b.remotePort != nil {
		m &= b.remotePort.vector(t.remotePort, t.fragment)
	}
	if b.localPort != nil {
		m &= b.localPort.vector(t.localPort, t.fragment)
	}
	if b.local != nil {
		m &= b.local.vector(&t.local)
	}
	if b.tos != nil {
		m &= b.tos.vector(t.tos)
	}
	if b.qfi != nil {
		m &= b.qfi.vector(qfi)
	}
	if m&b.deep != 0 {
		m = b.matchDeep(m, ip)
	}
	if b.ues == nil {
		return m, m
	}
	return m, m & b.ues.vector(&t.local)
}

// matchDeep takes out of m the units whose deepFilter does not match.
func (b *block) matchDeep(m uint64, ip []byte) uint64 {
	for ask := m & b.deep; ask != 0; ask &= ask - 1 {
		bit := ask & -ask
		if !b.deeps[bits.OnesCount64(b.deep&(bit-1))].matches(ip) {
			m &^= bit
		}
	}
	return m
}

// makeBlock compiles units, which are blockUnits at most.
func makeBlock(units []unit) block {
	var b block
	for i, u := range units {
		b.all |= 1 << i
		b.owner[i] = uint16(u.index)
		if !u.filter.deep.any() {
			b.deep |= 1 << i
			b.deeps = append(b.deeps, u.filter.deep)
		}
	}
	b.proto = makeByteTable(units, func(u *unit) bool { return u.filter.proto == 0 },
		func(u *unit, v int) bool { return int(u.filter.proto) == v })
	b.tos = makeByteTable(units, func(u *unit) bool { return u.filter.tosMask == 0 },
		func(u *unit, v int) bool { return uint8(v)&u.filter.tosMask == u.filter.tos })
	b.qfi = makeByteTable(units, func(u *unit) bool { return u.qfis == 0 },
		func(u *unit, v int) bool { return v >= anyQFI || u.qfis>>v&1 != 0 })
	b.remotePort = makePortTable(units, func(u *unit) []PortRange { return u.filter.remotePorts })
	b.localPort = makePortTable(units, func(u *unit) []PortRange { return u.filter.localPorts })
	b.remote = makeAddrTable(units, func(u *unit) []prefix { return one(u.filter.remote) })
	b.local = makeAddrTable(units, func(u *unit) []prefix { return one(u.filter.local) })
	b.ues = makeAddrTable(units, func(u *unit) []prefix { return u.ues })
	return b
}

// one is p as a list of addresses allowed, which is empty if p is any.
func one(p prefix) []prefix {
	if p == (prefix{}) {
		return nil
	}
	return []prefix{p}
}

// byteTable leads from the value of a field of 8 bits to the units that it satisfies.
type byteTable struct {
	row     [256]uint8
	vectors []uint64
}

// makeByteTable is nil if free says of all units that they allow any value.
func makeByteTable(units []unit, free func(*unit) bool, allows func(u *unit, v int) bool) *byteTable {
	if !anyUnit(units, func(u *unit) bool { return !free(u) }) {
		return nil
	}
	t := &byteTable{}
	rows := map[uint64]uint8{}
	var last uint64
	for v := range t.row {
		var m uint64
		for i := range units {
			if u := &units[i]; free(u) || allows(u, v) {
				m |= 1 << i
			}
		}
		if v > 0 && m == last {
			t.row[v] = t.row[v-1]
			continue
		}
		last = m
		r, ok := rows[m]
		if !ok {
			r = uint8(len(t.vectors))
			rows[m] = r
			t.vectors = append(t.vectors, m)
		}
		t.row[v] = r
	}
	return t
}

func (t *byteTable) vector(v uint8) uint64 { return t.vectors[t.row[v]] }

func anyUnit(units []unit, is func(*unit) bool) bool {
	for i := range units {
		if is(&units[i]) {
			return true
		}
	}
	return false
}
