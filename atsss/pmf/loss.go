package pmf

import "time"

// How the loss of a leg is found (TS 23.501 §5.32.5.3): one end asks the other to count the
// packets that it receives, counts those that it sends meanwhile, and asks for the count.
//
//	sender                                            receiver
//	from = sent     -- PLR COUNT REQUEST -->          counts from 0
//	                <-- PLR COUNT RESPONSE --
//	   ... data ...
//	upTo = sent     -- PLR REPORT REQUEST, restart -> count, and from 0 again
//	                <-- PLR REPORT RESPONSE, count --
//	lost = upTo - from - count; the next round is from = upTo
//
// The requests travel with the data, so that both ends count the same packets. What is sent
// again leaves open which of the two was heard. The ends of a round are then taken such that
// the loss may come out too small, never too large: a report's upTo is that of the first
// request, any from that of the last.

// minSample is the least number of packets that a round is made of.
const minSample = 50

// sulk is the time for which a peer is not asked to count after it did not answer.
const sulk = 60 * time.Second

// measure is the sender's part.
type measure struct {
	state      measureState
	tries      uint8 // how often the request was sent
	epti       uint16
	at         time.Duration // when the request was last sent, counting began, or the peer was given up
	from, upTo uint64
	next       uint64 // the next round's from
}

type measureState uint8

const (
	measureIdle      measureState = iota // nothing was sent since the last round
	measureStarting                      // the count request waits for its response
	measureCounting                      // the peer counts
	measureReporting                     // the report request waits for its response
	measureGaveUp                        // the peer does not count, or cannot be reached
)

// tick gives the request that is due on a leg on which so many packets were sent, and when
// to look again.
func (s *measure) tick(now time.Duration, sent uint64, period time.Duration, epti func() uint16) (m Message, due bool, next time.Duration) {
	switch s.state {
	case measureIdle:
		if sent == s.from {
			return m, false, now + period
		}
		return s.start(now, sent, epti)
	case measureCounting:
		if now < s.at+period {
			return m, false, s.at + period
		}
		if sent-s.from < minSample {
			return m, false, now + period
		}
		s.state, s.tries, s.epti, s.upTo = measureReporting, 0, epti(), sent
	case measureGaveUp:
		if now < s.at+sulk {
			return m, false, s.at + sulk
		}
		return s.start(now, sent, epti)
	case measureStarting, measureReporting:
		if now < s.at+answerTime {
			return m, false, s.at + answerTime
		}
		switch {
		case s.tries < maxSent:
		case s.state == measureReporting: // it may have forgotten that it counts
			return s.start(now, sent, epti)
		default:
			s.state, s.at = measureGaveUp, now
			return m, false, now + sulk
		}
	}
	return s.ask(now, sent), true, now + answerTime
}

func (s *measure) start(now time.Duration, sent uint64, epti func() uint16) (Message, bool, time.Duration) {
	*s = measure{state: measureStarting, epti: epti()}
	return s.ask(now, sent), true, now + answerTime
}

// ask is the request that s waits for an answer to.
func (s *measure) ask(now time.Duration, sent uint64) Message {
	s.at = now
	s.tries++
	if s.state == measureStarting {
		s.from = sent
		return Message{Type: PLRCountRequest, EPTI: s.epti}
	}
	s.next = sent
	return Message{Type: PLRReportRequest, EPTI: s.epti, Restart: true}
}

// counting takes a response to the count request.
func (s *measure) counting(now time.Duration, m *Message) Reason {
	switch {
	case m.EPTI != s.epti:
		return Unmatched
	case s.state != measureStarting:
		return Duplicate
	}
	s.state, s.at = measureCounting, now
	return OK
}

// reported takes a response to the report request and gives how many packets were sent and
// how many of them were lost.
func (s *measure) reported(m *Message) (sent, lost uint64, r Reason) {
	switch {
	case m.EPTI != s.epti:
		return 0, 0, Unmatched
	case s.state != measureReporting:
		return 0, 0, Duplicate
	}
	sent = s.upTo - s.from
	if got := uint64(m.Count); got < sent {
		lost = sent - got
	}
	s.from, s.state = s.next, measureIdle
	if m.Restart {
		s.state = measureCounting // since at, when the request was sent
	}
	return sent, lost, OK
}

// count is the receiver's part.
type count struct {
	from     uint64        // packets received before it
	at       time.Duration // when last was made
	last     Message
	counting bool
}

// start begins to count.
func (c *count) start(m *Message, received uint64) Message {
	c.counting, c.from = true, received
	return Message{Type: PLRCountResponse, EPTI: m.EPTI}
}

// report ends a count. A request that is repeated gets the same report.
func (c *count) report(now time.Duration, m *Message, received uint64) (Message, Reason) {
	if c.last.EPTI == m.EPTI && c.last.Type != 0 && now-c.at < maxSent*answerTime {
		return c.last, OK
	}
	if !c.counting {
		return Message{}, NotCounting
	}
	c.last = Message{
		Type: PLRReportResponse, EPTI: m.EPTI, Restart: m.Restart, Count: uint32(received - c.from),
	}
	c.at, c.from, c.counting = now, received, m.Restart
	return c.last, OK
}
