package smf

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

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
