package pfcp

import (
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"
)

// maxMessages is how many messages of one datagram are taken. We do not tell that we
// take more than one (BUNDL), so that none has to come.
const maxMessages = 32

// Inbox is the half of an [Endpoint] that takes datagrams, without a socket and
// without a clock: it guards, parses, hands requests to the handler, and gives the
// stored answer to a retransmitted request. It is for one goroutine.
type Inbox struct {
	handler   Handler
	allow     func(netip.Addr) bool // nil = any
	dropped   atomic.Uint64
	malformed func(netip.AddrPort, uint8, uint64, *Error) message.Message
	log       *slog.Logger
	response  func(peer netip.AddrPort, b []byte, h header) // nil = responses are discarded

	seed    maphash.Seed
	answers answerStore
}

// NewInbox makes an inbox; of cfg it uses Allow, Malformed and Log.
func NewInbox(cfg Config, h Handler) *Inbox {
	return &Inbox{
		handler: h, allow: cfg.Allow, malformed: cfg.Malformed, log: orDiscard(cfg.Log),
		seed: maphash.MakeSeed(), answers: newAnswerStore(),
	}
}

// Dropped is the number of datagrams of peers that Allow did not let in. It may be
// called from any goroutine.
func (in *Inbox) Dropped() uint64 { return in.dropped.Load() }

// Receive takes one datagram, which may hold more than one message (TS 29.244
// §7.2.2.1, follow-on flag), and returns the datagrams to send back. It keeps
// datagram. now must not run backwards.
func (in *Inbox) Receive(peer netip.AddrPort, datagram []byte, now time.Time) (answers [][]byte) {
	if in.allow != nil && !in.allow(peer.Addr()) {
		in.dropped.Add(1)
		return nil
	}
	in.answers.forget(now)
	messages := 0
	for rest := datagram; len(rest) > 0; {
		if messages++; messages > maxMessages {
			in.log.Warn("too many messages in one datagram", "peer", peer, "limit", maxMessages)
			return answers
		}
		h, err := parseHeader(rest)
		if err != nil {
			in.log.Warn("malformed datagram", "peer", peer, "err", err)
			return answers
		}
		if h.version != 1 {
			return appendAnswer(answers, versionNotSupported(h))
		}
		whole := h.length <= len(rest) && h.length >= h.ies && (h.followOn || h.length == len(rest))
		b := rest
		if whole {
			b = rest[:h.length]
		}
		switch {
		case isRequest(h.typ):
			answers = appendAnswer(answers, in.request(peer, b, h, whole, now))
		case isResponse(h.typ):
			if whole && in.response != nil {
				in.response(peer, b, h)
			}
		default: // an unknown message is discarded (TS 29.244 §7.6.4)
			in.log.Debug("unknown message type", "peer", peer, "type", h.typ)
		}
		if !whole {
			return answers
		}
		rest = rest[h.length:]
	}
	return answers
}

func appendAnswer(answers [][]byte, a []byte) [][]byte {
	if a == nil {
		return answers
	}
	return append(answers, a)
}

// versionNotSupported answers a request of a version that we do not speak
// (TS 29.244 §7.6.2); nil if it is none.
func versionNotSupported(h header) []byte {
	if !isRequest(h.typ) {
		return nil
	}
	b, err := marshal(message.NewVersionNotSupportedResponse(h.sequence))
	if err != nil {
		return nil
	}
	return b
}

// request returns the answer to the request in b: the one that it had, if it is a
// retransmission; nil = silence.
func (in *Inbox) request(peer netip.AddrPort, b []byte, h header, whole bool, now time.Time) []byte {
	key := transaction{peer, h.sequence}
	sum := maphash.Bytes(in.seed, b)
	if old, ok := in.answers.get(key, sum, now); ok {
		return old
	}
	resp := in.answer(peer, b, h, whole)
	if resp == nil {
		return nil
	}
	resp.SetSequenceNumber(h.sequence)
	datagram, err := marshal(resp)
	if err != nil {
		in.log.Error("encode", "peer", peer, "message", resp.MessageTypeName(), "err", err)
		return nil
	}
	in.answers.put(key, answer{sum, datagram, now})
	return datagram
}

func (in *Inbox) answer(peer netip.AddrPort, b []byte, h header, whole bool) message.Message {
	var req message.Message
	var err error
	if whole {
		if req, err = parseMessage(b, h); err == nil {
			return in.handler(peer, req)
		}
	} else {
		err = &Error{Cause: ie.CauseInvalidLength, Text: fmt.Sprintf("header says %d octets, datagram has %d", h.length, len(b))}
	}
	in.log.Warn("malformed request", "peer", peer, "type", h.typ, "err", err)
	var why *Error
	if in.malformed == nil || !errors.As(err, &why) {
		return nil
	}
	return in.malformed(peer, h.typ, h.seid, why)
}
