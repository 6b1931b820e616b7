package pfcp

import (
	"net/netip"
	"time"
)

// answerLife is how long an answer is kept for a retransmitted request, and the
// least time before a sequence number is used again towards a peer.
const answerLife = 15 * time.Second

// Bounds of the store of answers. A peer's oldest answer gives way to its newest:
// one that floods us takes room from nobody else. That of one address is more than
// what 4,000 requests a second leave behind in answerLife. Where there is no room
// for another address or another answer, the answer is not stored: should its
// request come again, it is worked on again.
const (
	maxAnswers     = 1 << 18
	maxPeerAnswers = 1 << 16
	maxPeers       = 1 << 10
)

// answer is what a request got, and a hash of that request: a peer that restarts
// begins its sequence numbers anew, and its new request must not get an answer to
// an old one.
type answer struct {
	request  uint64
	datagram []byte
	at       time.Time
}

// answerStore holds the answers of the last answerLife.
type answerStore struct {
	answers map[transaction]answer
	expiry  map[netip.Addr][]expiringAnswer // oldest first; times rise
	count   int                             // of the entries in expiry
	swept   time.Time                       // when all of expiry was last looked at
}

type expiringAnswer struct {
	transaction
	at time.Time
}

func newAnswerStore() answerStore {
	return answerStore{answers: make(map[transaction]answer), expiry: make(map[netip.Addr][]expiringAnswer)}
}

// get returns the answer to a request, told by its hash.
func (s *answerStore) get(key transaction, request uint64, now time.Time) ([]byte, bool) {
	a, ok := s.answers[key]
	if !ok || a.request != request || now.Sub(a.at) > answerLife {
		return nil, false
	}
	return a.datagram, true
}

// put stores the answer to a request.
func (s *answerStore) put(key transaction, a answer) {
	peer := key.peer.Addr()
	queue, known := s.expiry[peer]
	switch {
	case !known && len(s.expiry) >= maxPeers, s.count >= maxAnswers && len(queue) == 0:
		return
	case s.count >= maxAnswers || len(queue) >= maxPeerAnswers:
		s.dropOldest(peer)
	}
	s.answers[key] = a
	s.expiry[peer] = append(s.expiry[peer], expiringAnswer{key, a.at})
	s.count++
}

// forget drops, once a second, the answers that are too old to serve.
func (s *answerStore) forget(now time.Time) {
	if now.Sub(s.swept) < time.Second {
		return
	}
	s.swept = now
	for peer, queue := range s.expiry {
		for len(queue) > 0 && now.Sub(queue[0].at) > answerLife {
			queue = s.dropOldest(peer)
		}
	}
}

// dropOldest drops the oldest answer of a peer that has one.
func (s *answerStore) dropOldest(peer netip.Addr) (rest []expiringAnswer) {
	x := s.expiry[peer][0]
	rest = s.expiry[peer][1:]
	s.count--
	if s.answers[x.transaction].at.Equal(x.at) { // else a newer request of that number has taken its place
		delete(s.answers, x.transaction)
	}
	if len(rest) == 0 {
		delete(s.expiry, peer)
	} else {
		s.expiry[peer] = rest
	}
	return rest
}
