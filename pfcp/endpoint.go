package pfcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	gopfcp "github.com/wmnsk/go-pfcp"
	"github.com/wmnsk/go-pfcp/message"
)

// Port is the UDP port of PFCP requests (TS 29.244 §4.2.2).
const Port = 8805

// readBuffer is what the socket is to hold, in octets: what a CP function with many
// sessions sends while a busy machine lets us wait. What does not fit is lost, and comes
// again seconds later.
const readBuffer = 4 << 20

// ErrTimeout is what [Endpoint.Request] returns when no response came to the
// request nor to any of its retransmissions: the peer is to be taken as down.
var ErrTimeout = errors.New("no response")

// Handler answers a request of a peer. It runs on the endpoint's goroutine, one
// request at a time: it must not call [Endpoint.Request], whose response only
// that goroutine could take; [Endpoint.Start] it may. It owns req. The endpoint sets the response's
// sequence number; nil means silence.
type Handler func(peer netip.AddrPort, req message.Message) (resp message.Message)

// Config says where an [Endpoint] listens and how patient it is.
type Config struct {
	Addr           netip.AddrPort // local address; port 0 = any free one
	RetransTimeout time.Duration  // T1: wait before a request is sent again; 0 = 1 s
	MaxRetrans     int            // N1: how often it is sent again after the first time

	// Allow, if set, says whether a peer's datagrams are looked at: the others are
	// dropped unread and counted. It is asked once for each.
	Allow func(netip.Addr) bool

	// Malformed, if set, answers a request whose header is sound and whose IEs
	// are not; why is an [*Error]. Without it such a request meets silence.
	Malformed func(peer netip.AddrPort, typ uint8, seid uint64, why *Error) message.Message

	// Trace, if set, sees every datagram sent and received. It must not keep the
	// datagram, and must be quick.
	Trace func(sent bool, local, peer netip.AddrPort, datagram []byte, at time.Time)

	Log *slog.Logger // nil = none
}

// Endpoint is one PFCP entity's UDP socket: it matches responses to requests,
// sends requests again, and answers retransmitted requests of its peers with the
// answer that they had. Its methods may be called from any goroutine.
type Endpoint struct {
	cfg   Config
	conn  *net.UDPConn
	inbox *Inbox        // of the receive loop alone
	done  chan struct{} // closed when the receive loop has ended

	mu      sync.Mutex
	closed  bool
	nextSeq uint32
	pending map[transaction]*pendingRequest
}

// transaction names a request: the peer and the sequence number.
type transaction struct {
	peer     netip.AddrPort
	sequence uint32
}

// pendingRequest is a request without a response yet.
type pendingRequest struct {
	typ      uint8 // of the request
	name     string
	datagram []byte
	done     func(message.Message, error)

	sent  int         // how often; guarded by Endpoint.mu
	timer *time.Timer // of the next time; guarded by Endpoint.mu
}

// Listen binds the socket and starts to serve. It turns off go-pfcp's own log.
func Listen(cfg Config, h Handler) (*Endpoint, error) {
	gopfcp.DisableLogging()
	network := "udp"
	if cfg.Addr.Addr().Is4() {
		network = "udp4"
	}
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(cfg.Addr))
	if err != nil {
		return nil, fmt.Errorf("bind PFCP: %w", err)
	}
	_ = conn.SetReadBuffer(readBuffer) // the kernel gives what net.core.rmem_max lets it
	if cfg.RetransTimeout <= 0 {
		cfg.RetransTimeout = time.Second
	}
	cfg.Log = orDiscard(cfg.Log)
	e := &Endpoint{
		cfg: cfg, conn: conn,
		done: make(chan struct{}),
		// A random start: a peer still holds the answers to the numbers that an
		// earlier life of this process used.
		nextSeq: rand.Uint32N(1 << 24),
		pending: make(map[transaction]*pendingRequest),
	}
	e.inbox = NewInbox(cfg, h)
	e.inbox.response = e.receiveResponse
	go e.serve()
	return e, nil
}

// LocalAddr is the address that the endpoint is bound to.
func (e *Endpoint) LocalAddr() netip.AddrPort {
	return unmap(e.conn.LocalAddr().(*net.UDPAddr).AddrPort())
}

// Dropped is the number of datagrams of peers that Allow did not let in.
func (e *Endpoint) Dropped() uint64 { return e.inbox.Dropped() }

// Close ends the endpoint and waits until its goroutine is gone; requests under
// way end with [net.ErrClosed]. It must not be called by a handler.
func (e *Endpoint) Close() error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	err := e.conn.Close()
	<-e.done
	e.mu.Lock()
	left := maps.Clone(e.pending)
	e.mu.Unlock()
	for key, p := range left {
		e.finish(key, p, nil, net.ErrClosed)
	}
	return err
}

// Request is [Endpoint.Start] that waits: it returns the response, whatever that
// says, or an error that wraps [ErrTimeout], [net.ErrClosed], the context's or the
// socket's error.
func (e *Endpoint) Request(ctx context.Context, peer netip.AddrPort, req message.Message) (message.Message, error) {
	type result struct {
		resp message.Message
		err  error
	}
	answered := make(chan result, 1)
	stop, err := e.Start(peer, req, func(resp message.Message, err error) { answered <- result{resp, err} })
	if err != nil {
		return nil, err
	}
	select {
	case r := <-answered:
		return r.resp, r.err
	case <-ctx.Done():
		stop()
		return nil, fmt.Errorf("%s to %v: %w", req.MessageTypeName(), peer, context.Cause(ctx))
	}
}

// Start sends req to peer under a fresh sequence number, and again after each
// RetransTimeout until there is a response. It does not wait: done is called once,
// with the response, whatever that says, so the caller looks at its Cause; or with an
// error that wraps [ErrTimeout], [net.ErrClosed] or the socket's error. After an error
// of Start itself, or after stop, done is not called; a call that stop meets under way
// goes on. done runs on the endpoint's receiving goroutine or on a timer's: it must
// not wait for anything of this endpoint but may call Start.
func (e *Endpoint) Start(peer netip.AddrPort, req message.Message, done func(message.Message, error)) (stop func(), err error) {
	peer = unmap(peer)
	p := &pendingRequest{typ: req.MessageType(), name: req.MessageTypeName(), done: done}
	fail := func(err error) (func(), error) {
		return nil, fmt.Errorf("%s to %v: %w", p.name, peer, err)
	}
	key, err := e.register(peer, p)
	if err != nil {
		return fail(err)
	}
	req.SetSequenceNumber(key.sequence)
	if p.datagram, err = marshal(req); err == nil {
		err = e.transmit(key, p)
	}
	if err != nil {
		e.take(key, p)
		return fail(err)
	}
	return func() { e.take(key, p) }, nil
}

// transmit sends p, once more, unless it is no longer pending.
func (e *Endpoint) transmit(key transaction, p *pendingRequest) error {
	e.mu.Lock()
	if e.pending[key] != p {
		e.mu.Unlock()
		return nil
	}
	if p.sent > e.cfg.MaxRetrans {
		e.mu.Unlock()
		return fmt.Errorf("sent %d times: %w", p.sent, ErrTimeout)
	}
	p.sent++
	p.timer = time.AfterFunc(e.cfg.RetransTimeout, func() {
		if err := e.transmit(key, p); err != nil {
			e.finish(key, p, nil, err)
		}
	})
	e.mu.Unlock()
	return e.send(key.peer, p.datagram)
}

// take ends p and says whether it was still pending.
func (e *Endpoint) take(key transaction, p *pendingRequest) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.pending[key] != p {
		return false
	}
	delete(e.pending, key)
	if p.timer != nil {
		p.timer.Stop()
	}
	return true
}

// finish ends p with a response or an error, if it is still pending.
func (e *Endpoint) finish(key transaction, p *pendingRequest, resp message.Message, err error) {
	if !e.take(key, p) {
		return
	}
	if err != nil {
		err = fmt.Errorf("%s to %v: %w", p.name, key.peer, err)
	}
	p.done(resp, err)
}

// register takes a sequence number. The numbers of all peers come from one
// 24-bit counter: it would take a million requests a second to meet one again
// within answerLife. A number that is still under way is passed over.
func (e *Endpoint) register(peer netip.AddrPort, p *pendingRequest) (transaction, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return transaction{}, net.ErrClosed
	}
	for {
		e.nextSeq = (e.nextSeq + 1) & 0xffffff
		key := transaction{peer, e.nextSeq}
		if _, taken := e.pending[key]; !taken && key.sequence != 0 {
			e.pending[key] = p
			return key, nil
		}
	}
}

func (e *Endpoint) send(peer netip.AddrPort, datagram []byte) error {
	if e.cfg.Trace != nil {
		e.cfg.Trace(true, e.LocalAddr(), peer, datagram, time.Now())
	}
	_, err := e.conn.WriteToUDPAddrPort(datagram, peer)
	return err
}

// serve is the receive loop.
func (e *Endpoint) serve() {
	defer close(e.done)
	buf := make([]byte, MaxDatagram+1)
	for {
		n, peer, err := e.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			e.cfg.Log.Warn("receive", "err", err)
			time.Sleep(time.Millisecond) // an error of the socket that stays must not take the core
			continue
		}
		peer = unmap(peer)
		now := time.Now()
		if e.cfg.Trace != nil {
			e.cfg.Trace(false, e.LocalAddr(), peer, buf[:n], now)
		}
		if n > MaxDatagram {
			e.cfg.Log.Warn("datagram too long", "peer", peer, "limit", MaxDatagram)
			continue
		}
		e.receive(peer, append([]byte(nil), buf[:n]...), now)
	}
}

// receive handles one datagram. Whatever it holds, it does not panic.
func (e *Endpoint) receive(peer netip.AddrPort, datagram []byte, now time.Time) {
	defer func() {
		if r := recover(); r != nil {
			e.cfg.Log.Error("datagram made the server panic", "peer", peer, "datagram", fmt.Sprintf("%x", datagram), "panic", r, "stack", string(debug.Stack()))
		}
	}()
	for _, answer := range e.inbox.Receive(peer, datagram, now) {
		if err := e.send(peer, answer); err != nil {
			e.cfg.Log.Warn("send", "peer", peer, "err", err)
		}
	}
}

func (e *Endpoint) receiveResponse(peer netip.AddrPort, b []byte, h header) {
	e.mu.Lock()
	p := e.pending[transaction{peer, h.sequence}]
	e.mu.Unlock()
	if p == nil || h.typ != p.typ+1 && h.typ != message.MsgTypeVersionNotSupportedResponse {
		e.cfg.Log.Debug("response to no request", "peer", peer, "type", h.typ, "sequence", h.sequence)
		return
	}
	m, err := parseMessage(b, h)
	if err != nil {
		e.cfg.Log.Warn("malformed response", "peer", peer, "type", h.typ, "err", err)
		return
	}
	e.finish(transaction{peer, h.sequence}, p, m, nil)
}

func marshal(m message.Message) ([]byte, error) {
	b := make([]byte, m.MarshalLen())
	if len(b) > 4+0xffff {
		return nil, fmt.Errorf("%d octets do not fit a PFCP message", len(b))
	}
	return b, m.MarshalTo(b)
}

func orDiscard(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
