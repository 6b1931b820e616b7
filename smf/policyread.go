package smf

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

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
		{"steering", true, func(n *yaml.Node, path string) { s.Steering = r.steering(n, path) }},
		{"accesses", true, func(n *yaml.Node, path string) { s.Accesses = r.accesses(n, path) }},
	})
	return s
}

func (r *policyReader) steering(n *yaml.Node, path string) (s Steering) {
	r.mapping(n, path, []key{
		{"functionality", true, func(n *yaml.Node, path string) { s.Functionality = choice(r, n, path, functionalityNames) }},
		{"mode", true, func(n *yaml.Node, path string) { s.Mode = choice(r, n, path, modeNames) }},
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

// access reads one access. Without a priority, 3GPP is active and non-3GPP stands
// by; without a weight, it is 0.
func (r *policyReader) access(n *yaml.Node, path string, a steer.Access) *Access {
	acc := &Access{Priority: steer.Active}
	if a == steer.AccessNon3GPP {
		acc.Priority = steer.Standby
	}
	r.mapping(n, path, []key{
		{"peer", true, func(n *yaml.Node, path string) { acc.Peer = r.addr(n, path) }},
		{"teid", true, func(n *yaml.Node, path string) { acc.TEID = uint32(r.number(n, path, 1, 0xffffffff)) }},
		{"weight", false, func(n *yaml.Node, path string) { acc.Weight = uint8(r.number(n, path, 0, 100)) }},
		{"priority", false, func(n *yaml.Node, path string) { acc.Priority = choice(r, n, path, priorityNames) }},
		{"down", false, func(n *yaml.Node, path string) { acc.Down = r.boolean(n, path) }},
	})
	return acc
}

// mapping reads n by keys: each at most once, no others, no required one missing.
func (r *policyReader) mapping(n *yaml.Node, path string, keys []key) {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		r.fail(n, path, "allowed is a mapping with the keys %s", keyNames(keys))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content) && r.err == nil; i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		at := strings.TrimPrefix(path+"."+name.Value, ".")
		k := slices.IndexFunc(keys, func(k key) bool { return k.name == name.Value })
		switch {
		case k < 0:
			r.fail(name, at, "unknown key: allowed are %s", keyNames(keys))
		case seen[name.Value]:
			r.fail(name, at, "is there twice")
		default:
			seen[name.Value] = true
			r.lines[at] = name.Line
			keys[k].read(resolve(value), at)
		}
	}
	for _, k := range keys {
		if k.required && !seen[k.name] {
			r.fail(n, strings.TrimPrefix(path+"."+k.name, "."), "is missing")
		}
	}
}

func (r *policyReader) sequence(n *yaml.Node, path string, read func(n *yaml.Node, path string)) {
	if n.Kind != yaml.SequenceNode {
		r.fail(n, path, "allowed is a list")
		return
	}
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		r.lines[at] = item.Line
		read(resolve(item), at)
	}
}

func (r *policyReader) text(n *yaml.Node, path string) string {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		r.fail(n, path, "allowed is one value")
		return ""
	}
	return n.Value
}

func (r *policyReader) number(n *yaml.Node, path string, least, largest uint64) uint64 {
	v, err := strconv.ParseUint(r.text(n, path), 0, 64)
	if err != nil || v < least || v > largest {
		r.fail(n, path, "%q: allowed are numbers from %d to %d", n.Value, least, largest)
	}
	return v
}

func (r *policyReader) boolean(n *yaml.Node, path string) bool {
	v := r.text(n, path)
	if v != "true" && v != "false" {
		r.fail(n, path, "%q: allowed are true, false", v)
	}
	return v == "true"
}

func (r *policyReader) duration(n *yaml.Node, path string) time.Duration {
	d, err := time.ParseDuration(r.text(n, path))
	if err != nil {
		r.fail(n, path, "%q: allowed is a duration such as 5s", n.Value)
	}
	return d
}

func (r *policyReader) addr(n *yaml.Node, path string) netip.Addr {
	a, err := netip.ParseAddr(r.text(n, path))
	if err != nil || a.Zone() != "" {
		r.fail(n, path, "%q: allowed is an IP address", n.Value)
	}
	return a.Unmap()
}

func (r *policyReader) addrPort(n *yaml.Node, path string) netip.AddrPort {
	ap, err := ParsePeer(r.text(n, path))
	if err != nil {
		r.fail(n, path, "%v", err)
	}
	return ap
}

// choice reads one of names.
func choice[T ~uint8](r *policyReader, n *yaml.Node, path string, names map[T]string) (v T) {
	text := r.text(n, path)
	for v, name := range names {
		if name == text {
			return v
		}
	}
	r.fail(n, path, "%q: allowed are %s", text, listNames(names))
	return v
}

func (r *policyReader) fail(n *yaml.Node, path, format string, args ...any) {
	if r.err == nil {
		r.err = wrong(path, format, args...)
		r.err.Line = n.Line
	}
}

// lineOf is the line of path, or of the nearest thing around it that has one.
func (r *policyReader) lineOf(path string) int {
	for path != "" {
		if line := r.lines[path]; line > 0 {
			return line
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return 0
}

// resolve follows a YAML alias.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func keyNames(keys []key) string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	return strings.Join(names, ", ")
}

func listNames[T ~uint8](names map[T]string) string {
	return strings.Join(slices.Sorted(maps.Values(names)), ", ")
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
