package proxy

import (
	"iter"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/packet"
)

// The proxy-socket API of FlexCP §4: accept is [Config.Accept], getsockopt and getsockstat
// are [Conn.Status], setsockopt is [Proxy.SetPolicy] and [Proxy.SetScheduler]. As all of the
// package it is for the one goroutine that calls the proxy.

// ConnState is how far a connection is.
type ConnState uint8

// States of a connection.
const (
	ConnOpening  ConnState = iota // before the UE's third ACK
	ConnOpen                      // proxied: data are translated
	ConnPlain                     // the UE fell back to plain TCP: packets pass unchanged
	ConnFinished                  // both directions ended, or reset; late packets are answered
)

// SubflowState is how far a subflow is (RFC 8684 §3.2).
type SubflowState uint8

// States of a subflow.
const (
	SubflowJoining     = SubflowState(subflowJoining)     // its third ACK has not come
	SubflowEstablished = SubflowState(subflowEstablished) // carries data
	SubflowClosing     = SubflowState(subflowClosing)     // the UE closed it or removed its address
	SubflowDead        = SubflowState(subflowDead)        // reset
)

// ConnStatus is what [Conn.Status] tells of a connection.
type ConnStatus struct {
	State   ConnState
	Session uint32 // Session.ID of its first subflow
	PDR     uint16 // ID of its downlink PDR

	Server     packet.Addr // also where the UE sends to a converter
	ServerPort uint16

	// Bytes of the application's stream that went to the server and to the UE, each once
	// however often it was sent.
	Up, Down uint64

	Subflows []SubflowStatus
}

// SubflowStatus is what [Conn.Status] tells of a subflow. RTT, loss and window are of the
// downlink, whose data the proxy places.
type SubflowStatus struct {
	Access steer.Access
	State  SubflowState
	UE     packet.Addr
	UEPort uint16

	// Usable says that new data can go on the subflow: it is the one of its access,
	// carries data and is not suspected to be silent.
	Usable bool

	// RTT is the smoothed round-trip time from the proxy to the UE and back, RTTVar its
	// mean deviation (RFC 6298 §2); 0 = not measured yet. Bytes that were sent again are
	// not measured (Karn's rule), where FlexCP §3.3 measures all.
	RTT, RTTVar time.Duration

	Down   uint64 // bytes sent to the UE, each SSN once, what only fills holes included
	Resent uint64 // bytes sent to the UE again; counts up to 2^32-1
	Up     uint64 // bytes of the UE taken and acknowledged on the subflow

	InFlight uint64 // bytes of Down that the UE has not acknowledged
	// Window estimates the congestion window of the server on the subflow: the most
	// bytes that were in flight, falling by a quarter each round trip that is measured
	// (FlexCP §3.3). 0 = not measured yet.
	Window uint64
}

// LossRatio is the share of the bytes sent to the UE that were sent again (FlexCP §3.3), in
// [0, 1]. It takes what the server sends again for lost, as it does.
func (s *SubflowStatus) LossRatio() float64 {
	if s.Resent == 0 {
		return 0
	}
	return float64(s.Resent) / float64(s.Down+s.Resent)
}

// DeliveryRate estimates the rate, in bytes a second, at which the UE gets data on the
// subflow: a Window each RTT. 0 = not measured yet.
func (s *SubflowStatus) DeliveryRate() float64 {
	if s.RTT == 0 {
		return 0
	}
	return float64(s.Window) / s.RTT.Seconds()
}

// Conns ranges over the connections of s, those that linger included. The proxy must not
// be called before the end but for [Proxy.SetPolicy] and [Proxy.SetScheduler].
func (s *Session) Conns() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		for c := s.conns; c != nil && yield(c); c = c.inSession.next {
		}
	}
}

// Status puts into st what is known of c. It reuses st.Subflows.
func (c *Conn) Status(st *ConnStatus) {
	all := st.Subflows[:0]
	*st = ConnStatus{
		State: c.publicState(), Session: c.session.ID, PDR: c.rule.PDR, Server: c.srv, ServerPort: c.srvPort,
		Up: uint64(max(0, c.up.next)), Down: uint64(max(0, c.down.next)),
	}
	if v := c.convert; v != nil && v.srvPort != 0 {
		st.Server, st.ServerPort = v.srv, v.srvPort
	}
	available := c.available()
	for _, s := range c.subflows {
		t := &s.path
		all = append(all, SubflowStatus{
			Access: s.access, State: SubflowState(s.state), UE: s.ue, UEPort: s.uePort,
			Usable: available.Has(s.access) && c.usable[s.access] == s.index,
			RTT:    time.Duration(t.rtt()), RTTVar: time.Duration(microsecond * Time(t.rttvar)),
			Down: uint64(max(0, s.next-1)), Resent: uint64(s.resent), Up: uint64(max(0, s.rcvNext-1)),
			InFlight: uint64(max(0, s.next-s.acked)), Window: uint64(t.window),
		})
	}
	st.Subflows = all
}

func (c *Conn) publicState() ConnState {
	switch {
	case c.finished || c.state == stateClosed:
		return ConnFinished
	case c.state == stateEstablished:
		return ConnOpen
	case c.state == stateRelay:
		return ConnPlain
	}
	return ConnOpening
}

// accepted tells the user that c is proxied from now on.
func (p *Proxy) accepted(c *Conn) {
	if p.cfg.Accept != nil && c.state == stateEstablished && !c.finished {
		c.told = true
		p.cfg.Accept(c)
	}
}

// over tells the user, if it was told of c, that c is proxied no longer, and drops its own
// steering.
func (p *Proxy) over(c *Conn) {
	p.unsteer(c)
	if c.told {
		c.told = false
		if p.cfg.Closed != nil {
			p.cfg.Closed(c)
		}
	}
}

// sentAgain notes n bytes that were sent on s before. What is repaired after a silence was
// lost by that: it is no sign of what the access loses otherwise.
func (s *Subflow) sentAgain(n int64) {
	s.resent = uint32(min(int64(s.resent)+n, 1<<32-1))
	if !s.path.recovering {
		s.conn.session.Monitor.Resent(s.access, n)
	}
}
