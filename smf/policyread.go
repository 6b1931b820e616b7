package smf

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"

	"go.yaml.in/yaml/v3"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/pfcp"
)

// LoadPolicy reads a policy file. Reading is strict: an unknown, double or missing
// key and a value that is not allowed are a [*PolicyError] with file, line, key and
// what is allowed. Other errors say that the file could not be read.
func LoadPolicy(path string) (*Policy, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	defer f.Close()
	p, perr := readPolicy(f)
	if perr != nil {
		perr.File = path
		return nil, perr
	}
	return p, nil
}

// readPolicy reads and validates one policy.
func readPolicy(src io.Reader) (*Policy, *PolicyError) {
	dec := yaml.NewDecoder(src)
	var doc, more yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, &PolicyError{Reason: "the file is empty"}
	case err != nil:
		return nil, &PolicyError{Reason: err.Error()}
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, &PolicyError{Line: more.Line, Reason: "a second document: allowed is one"}
	}
	r := policyReader{lines: map[string]int{}}
	p := r.policy(doc.Content[0])
	if r.err != nil {
		return nil, r.err
	}
	if err := p.validate(); err != nil {
		err.Line = r.lineOf(err.Key)
		return nil, err
	}
	return p, nil
}

// policyReader turns YAML nodes into a Policy. After the first error the rest of
// the reading has no meaning and the error is kept.
type policyReader struct {
	lines map[string]int // line of every key seen, by path
	err   *PolicyError
}

// key is one key that a mapping allows.
type key struct {
	name     string
	required bool
	read     func(n *yaml.Node, path string)
}

func (r *policyReader) policy(n *yaml.Node) *Policy {
	p := &Policy{Heartbeat: DefaultHeartbeat}
	r.mapping(n, "", []key{
		{"upf", true, func(n *yaml.Node, path string) { p.UPF = r.addrPort(n, path) }},
		{"node", true, func(n *yaml.Node, path string) { p.Node = r.addr(n, path) }},
		{"heartbeat", false, func(n *yaml.Node, path string) { p.Heartbeat = r.duration(n, path) }},
		{"sessions", true, func(n *yaml.Node, path string) {
			r.sequence(n, path, func(n *yaml.Node, path string) {
				p.Sessions = append(p.Sessions, r.session(n, path))
			})
		}},
	})
	return p
}

func (r *policyReader) session(n *yaml.Node, path string) (s Session) {
	r.mapping(n, path, []key{
		{"name", true, func(n *yaml.Node, path string) { s.Name = r.text(n, path) }},
		{"ue", true, func(n *yaml.Node, path string) {
			r.sequence(n, path, func(n *yaml.Node, path string) { s.UE = append(s.UE, r.addr(n, path)) })
		}},
		{"dnn", true, func(n *yaml.Node, path string) { s.DNN = r.text(n, path) }},
		{"qfi", true, func(n *yaml.Node, path string) { s.QFI = uint8(r.number(n, path, 1, maxQFI)) }},
		{"atsss", false, func(n *yaml.Node, path string) { s.ATSSS = r.atsss(n, path) }},
		{"reports", false, func(n *yaml.Node, path string) { s.Reports = r.reports(n, path) }},
		{"steering", true, func(n *yaml.Node, path string) { s.Steering = r.steering(n, path) }},
		{"other", false, func(n *yaml.Node, path string) { s.Other = r.other(n, path) }},
		{"accesses", true, func(n *yaml.Node, path string) { s.Accesses = r.accesses(n, path) }},
	})
	return s
}

func (r *policyReader) accesses(n *yaml.Node, path string) (all Accesses) {
	var keys []key
	for _, a := range accessList {
		keys = append(keys, key{a.String(), false, func(n *yaml.Node, path string) { all[a] = r.access(n, path, a) }})
	}
	r.mapping(n, path, keys)
	return all
}

// access reads one access. Without a weight, it is 0.
func (r *policyReader) access(n *yaml.Node, path string, a steer.Access) *Access {
	acc := &Access{Priority: usualPriority(a)}
	r.mapping(n, path, []key{
		{"peer", true, func(n *yaml.Node, path string) { acc.Peer = r.addr(n, path) }},
		{"teid", true, func(n *yaml.Node, path string) { acc.TEID = uint32(r.number(n, path, 1, 0xffffffff)) }},
		{"weight", false, func(n *yaml.Node, path string) { acc.Weight = uint8(r.number(n, path, 0, 100)) }},
		{"priority", false, func(n *yaml.Node, path string) { acc.Priority = choice(r, n, path, priorityNames) }},
		{"down", false, func(n *yaml.Node, path string) { acc.Down = r.boolean(n, path) }},
	})
	return acc
}

// ParsePeer reads an N4 address: an IP address, with a port or with [pfcp.Port].
func ParsePeer(text string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return netip.AddrPortFrom(a.Unmap(), pfcp.Port), nil
	}
	ap, err := netip.ParseAddrPort(text)
	if err != nil || ap.Addr().Zone() != "" || ap.Port() == 0 {
		return netip.AddrPort{}, fmt.Errorf("%q: allowed is an IP address, with or without a port", text)
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}
