package pmf

import "time"

// echo measures round trips on one leg: a transaction of requests numbered by RI, of which
// the last few may still be answered.
type echo struct {
	sent    [echoWindow]time.Duration // when the request with an RI of this index was; 0 = none is waited for
	asked   time.Duration             // when the last request was sent; 0 = never
	epti    uint16
	next    uint8 // RI of the next request
	begun   bool  // epti is valid
	unheard bool  // no request of this transaction was answered yet
}

// echoWindow is how many requests are waited for at once. It divides 256.
const echoWindow = 4

// ask is the next request. A transaction ends when its RIs are used up.
func (e *echo) ask(now time.Duration, epti func() uint16) Message {
	if !e.begun || e.next == 0 {
		*e = echo{epti: epti(), begun: true, unheard: true}
	}
	m := Message{Type: EchoRequest, EPTI: e.epti, RI: e.next}
	e.sent[e.next%echoWindow] = now
	e.asked = now
	e.next++
	return m
}

// answered takes an answer and gives the round trip.
func (e *echo) answered(now time.Duration, m *Message) (rtt time.Duration, r Reason) {
	if !e.begun || m.EPTI != e.epti {
		return 0, Unmatched
	}
	age := e.next - 1 - m.RI
	sent := &e.sent[m.RI%echoWindow]
	switch {
	case age >= echoWindow:
		return 0, Late
	case *sent == 0:
		return 0, Duplicate
	}
	rtt = now - *sent
	*sent, e.unheard = 0, false
	return rtt, OK
}
