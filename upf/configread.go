package upf

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// reader collects what is wrong with a config file, with the line of each fault.
type reader struct {
	file   string
	faults []string
}

// section is a mapping of the config file. A section that is not there reads as
// empty.
type section struct {
	r    *reader
	path string // of the section, with a dot at its end, or ""
	line int
	keys map[string]*yaml.Node
}

func (r *reader) fail(line int, path, format string, args ...any) {
	r.faults = append(r.faults, fmt.Sprintf("%s:%d: %s: %s", r.file, line, path, fmt.Sprintf(format, args...)))
}

// section reads node as a mapping; nil gives the empty section.
func (r *reader) section(path string, node *yaml.Node, line int) *section {
	s := &section{r: r, path: path, line: line, keys: map[string]*yaml.Node{}}
	if node == nil {
		return s
	}
	s.line = node.Line
	if node.Kind != yaml.MappingNode {
		r.fail(node.Line, strings.TrimSuffix(path, "."), "allowed: keys and values")
		return s
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		k, v := node.Content[i], node.Content[i+1]
		if v.Kind == yaml.AliasNode {
			v = v.Alias
		}
		if _, twice := s.keys[k.Value]; twice {
			r.fail(k.Line, path+k.Value, "is there twice, allowed: once")
		}
		s.keys[k.Value] = v
	}
	return s
}

// only complains of keys other than these.
func (s *section) only(allowed ...string) {
	for k, v := range s.keys {
		if !slices.Contains(allowed, k) {
			s.r.fail(v.Line, s.path+k, "unknown key, allowed: %s", strings.Join(allowed, ", "))
		}
	}
}

// sub is the section under key.
func (s *section) sub(key string) *section {
	return s.r.section(s.path+key+".", s.keys[key], s.line)
}

// list are the sections of the list under key, which must not be empty.
func (s *section) list(key string) []*section {
	node := s.keys[key]
	if node == nil || node.Kind != yaml.SequenceNode || len(node.Content) == 0 {
		line := s.line
		if node != nil {
			line = node.Line
		}
		s.r.fail(line, s.path+key, "allowed: a list with one entry or more")
		return nil
	}
	var l []*section
	for i, n := range node.Content {
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		l = append(l, s.r.section(fmt.Sprintf("%s%s[%d].", s.path, key, i), n, n.Line))
	}
	return l
}

// prefixes are the addresses and address ranges of the list under key; an absent key
// gives none.
func (s *section) prefixes(key string) []netip.Prefix {
	const allowed = "a list of addresses such as 10.0.0.1 and address ranges such as 10.0.0.0/8"
	node := s.keys[key]
	if node == nil || node.Tag == "!!null" {
		return nil
	}
	if node.Kind != yaml.SequenceNode || len(node.Content) == 0 {
		s.r.fail(node.Line, s.path+key, "allowed: %s", allowed)
		return nil
	}
	var ps []netip.Prefix
	for i, n := range node.Content {
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		p, err := parsePrefix(n.Value)
		if err != nil {
			s.r.fail(n.Line, fmt.Sprintf("%s%s[%d]", s.path, key, i), "%q, allowed: %s", n.Value, allowed)
			continue
		}
		ps = append(ps, p)
	}
	return ps
}

// parsePrefix reads an address range, or an address as the range of it alone.
// IPv4-mapped addresses count as IPv4.
func parsePrefix(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if a, notAddr := netip.ParseAddr(text); notAddr == nil && a.Zone() == "" {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	if mapped := p.Addr().BitLen() - 32; p.Addr().Is4In6() && p.Bits() >= mapped {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped)
	}
	return p.Masked(), err
}

// scalar is the text under key; ok is false if the key is absent, null or, which
// is a fault, something else than a scalar.
func (s *section) scalar(key string) (text string, line int, ok bool) {
	n := s.keys[key]
	switch {
	case n == nil:
		return "", s.line, false
	case n.Kind != yaml.ScalarNode:
		s.r.fail(n.Line, s.path+key, "allowed: one value")
		return "", n.Line, false
	}
	return n.Value, n.Line, n.Tag != "!!null"
}

func (s *section) text(key string) string {
	v, _, _ := s.scalar(key)
	return v
}

// required is scalar with a fault if there is no text.
func (s *section) required(key, allowed string) (text string, line int, ok bool) {
	v, line, _ := s.scalar(key)
	if v == "" {
		s.r.fail(line, s.path+key, "is not there, allowed: %s", allowed)
	}
	return v, line, v != ""
}

func (s *section) oneOf(key, def string, allowed ...string) string {
	v, line, ok := s.scalar(key)
	if !ok || v == "" {
		v = def
	}
	for _, a := range allowed {
		if a == v {
			return v
		}
	}
	s.r.fail(line, s.path+key, "%q, allowed: %s", v, strings.Join(allowed, ", "))
	return v
}

func (s *section) number(key string, def, low, high int) int {
	v, line, ok := s.scalar(key)
	if !ok {
		return def
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		s.r.fail(line, s.path+key, "%q, allowed: a whole number from %d to %d", v, low, high)
	}
	return n
}

func (s *section) boolean(key string, def bool) bool {
	v, line, ok := s.scalar(key)
	if !ok {
		return def
	}
	switch v {
	case "true", "True", "TRUE", "yes", "on":
		return true
	case "false", "False", "FALSE", "no", "off":
		return false
	}
	s.r.fail(line, s.path+key, "%q, allowed: true, false", v)
	return def
}

func (s *section) duration(key string, def, low, high time.Duration) time.Duration {
	v, line, ok := s.scalar(key)
	if !ok {
		return def
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < low || d > high {
		s.r.fail(line, s.path+key, "%q, allowed: a time from %v to %v, such as 1s or 500ms", v, low, high)
	}
	return d
}

// resolveTimeout bounds the look-up of one host name.
const resolveTimeout = 5 * time.Second

// address is an IP address, or the first of a host name.
func (s *section) address(key string) netip.Addr {
	const allowed = "an IP address or a host name"
	v, line, ok := s.required(key, allowed)
	if !ok {
		return netip.Addr{}
	}
	if a, err := netip.ParseAddr(v); err == nil {
		return a
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	as, err := net.DefaultResolver.LookupNetIP(ctx, "ip", v)
	if err != nil || len(as) == 0 {
		s.r.fail(line, s.path+key, "%q, allowed: %s that resolves (%v)", v, allowed, err)
		return netip.Addr{}
	}
	for _, a := range as {
		if a.Unmap().Is4() {
			return a.Unmap()
		}
	}
	return as[0]
}
