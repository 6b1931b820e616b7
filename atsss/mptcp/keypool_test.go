package mptcp

import (
	"math/rand/v2"
	"testing"
)

// drain takes every key of p.
func drain(p *KeyPool) (out []KeyPair) {
	for k, ok := p.Take(); ok; k, ok = p.Take() {
		out = append(out, k)
	}
	return out
}

// TestKeyPoolGivesEachKeyOnce drains and refills: no key, and so no token, comes
// twice, and what is derived belongs to the key.
func TestKeyPoolGivesEachKeyOnce(t *testing.T) {
	const size, rounds = 64, 50
	p := NewKeyPool(size, rand.New(rand.NewPCG(1, 2)).Uint64, nil)
	seen := map[Key]bool{}
	for range rounds {
		if !p.Fill(size) || !p.Full() {
			t.Fatal("not full after as many tries as it holds")
		}
		for _, k := range drain(p) {
			if seen[k.Key] {
				t.Fatalf("key %016x given twice", k.Key)
			}
			seen[k.Key] = true
			if token, idsn := k.Key.Derive(); k.Token != token || k.IDSN != idsn {
				t.Fatalf("key %016x: token %08x, IDSN %016x; want %08x, %016x", k.Key, k.Token, k.IDSN, token, idsn)
			}
		}
	}
	if len(seen) != size*rounds {
		t.Fatalf("%d keys, want %d", len(seen), size*rounds)
	}
}

// TestKeyPoolOwns gives three workers a third of the tokens each.
func TestKeyPoolOwns(t *testing.T) {
	const workers, size = 3, 100
	for w := range uint32(workers) {
		p := NewKeyPool(size, rand.New(rand.NewPCG(7, uint64(w))).Uint64, func(token uint32) bool { return token%workers == w })
		tries := 0
		for !p.Fill(10) {
			if tries += 10; tries > 10*workers*size {
				t.Fatalf("worker %d: not full after %d tries", w, tries)
			}
		}
		for _, k := range drain(p) {
			if k.Token%workers != w {
				t.Fatalf("worker %d was given token %08x", w, k.Token)
			}
		}
	}
}

func TestKeyPoolExhaustion(t *testing.T) {
	p := NewKeyPool(2, rand.New(rand.NewPCG(1, 1)).Uint64, nil)
	if k, ok := p.Take(); ok {
		t.Fatalf("a new pool gave %+v", k)
	}
	if p.Fill(1) || p.Full() {
		t.Fatal("full with one key of two")
	}
	if n := len(drain(p)); n != 1 {
		t.Fatalf("%d keys after one try", n)
	}
	if !p.Fill(100) {
		t.Fatal("not full after 100 tries")
	}
	if n := len(drain(p)); n != 2 {
		t.Fatalf("%d keys in a pool of 2", n)
	}
	if _, ok := p.Take(); ok {
		t.Fatal("gave a key after the last")
	}
}

// TestKeyPoolStopsTrying: Fill does no more work than it was allowed.
func TestKeyPoolStopsTrying(t *testing.T) {
	draws := 0
	p := NewKeyPool(4, func() uint64 { draws++; return uint64(draws) }, func(uint32) bool { return false })
	if p.Fill(9) || draws != 9 {
		t.Fatalf("%d draws for 9 tries without a key kept", draws)
	}
	if _, ok := p.Take(); ok {
		t.Fatal("gave a key that it does not own")
	}
	p = NewKeyPool(4, func() uint64 { draws++; return uint64(draws) }, nil)
	draws = 0
	p.Fill(9)
	if draws != 4 {
		t.Fatalf("%d draws to fill a pool of 4", draws)
	}
}

// TestKeyPoolRefusesTokenZero: token 0 means none elsewhere. The key was found by
// trying all from 0 on.
func TestKeyPoolRefusesTokenZero(t *testing.T) {
	const zero, next = 1601298533, 1601298534
	if token, _ := Key(zero).Derive(); token != 0 {
		t.Fatalf("key %d: token %08x, test needs one with token 0", zero, token)
	}
	k := uint64(zero)
	p := NewKeyPool(1, func() uint64 { k++; return k - 1 }, nil)
	if p.Fill(1) {
		t.Fatal("kept a key with token 0")
	}
	p.Fill(1)
	if got, ok := p.Take(); !ok || got.Key != next {
		t.Fatalf("then gave %+v, %v, want key %d", got, ok, next)
	}
}
