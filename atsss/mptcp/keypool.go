package mptcp

// KeyPair is a key with what is derived from it.
type KeyPair struct {
	Key   Key
	Token uint32
	IDSN  DSN
}

// KeyPool holds keys made ahead of need. It belongs to one worker.
type KeyPool struct {
	rand func() uint64
	owns func(token uint32) bool
	free []KeyPair
	cap  int
}

// NewKeyPool makes an empty pool for up to n keys drawn from rand. Only keys are
// kept whose token is not zero and for which owns is true, so that a join finds its
// way by the token alone; owns nil = every token.
func NewKeyPool(n int, rand func() uint64, owns func(token uint32) bool) *KeyPool {
	return &KeyPool{rand: rand, owns: owns, free: make([]KeyPair, 0, n), cap: n}
}

// Fill makes up to n tries to add a key; each costs a SHA-256. It reports whether
// the pool is full.
func (p *KeyPool) Fill(n int) bool {
	for ; n > 0 && len(p.free) < p.cap; n-- {
		k := Key(p.rand())
		token, idsn := k.Derive()
		if token != 0 && (p.owns == nil || p.owns(token)) {
			p.free = append(p.free, KeyPair{k, token, idsn})
		}
	}
	return p.Full()
}

// Full reports whether the pool needs no filling.
func (p *KeyPool) Full() bool { return len(p.free) == p.cap }

// Put gives back a key that Take gave and that nobody has seen.
func (p *KeyPool) Put(k KeyPair) {
	if len(p.free) < p.cap {
		p.free = append(p.free, k)
	}
}

// Take gives a key that the pool will not give again; ok is false if it is empty.
// The caller checks that no live connection has the token.
func (p *KeyPool) Take() (k KeyPair, ok bool) {
	if len(p.free) == 0 {
		return KeyPair{}, false
	}
	k = p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	return k, true
}
