package pfcp

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/wmnsk/go-pfcp/ie"
)

// framedRoute reads a Framed-Route or a Framed-IPv6-Route IE (§8.2.109, §8.2.111):
// the text of the RADIUS attributes of that name (RFC 2865 §5.22, RFC 3162 §2.5), a
// prefix that may be followed by a gateway and metrics. The gateway is the UE, and
// there is one route only: both are checked and say no more.
func framedRoute(i *ie.IE) (netip.Prefix, *Error) {
	words := strings.Fields(strings.TrimRight(string(i.Payload), "\x00"))
	if len(words) == 0 {
		return netip.Prefix{}, malformed(i, "no prefix")
	}
	p, err := routePrefix(words[0])
	switch {
	case err != nil:
		return netip.Prefix{}, malformed(i, "%v", err)
	case p.Addr().Is4() != (i.Type == ie.FramedRoute):
		return netip.Prefix{}, malformed(i, "%v is of the other family", p)
	case p.Bits() == 0:
		return netip.Prefix{}, malformed(i, "%v would give the session every address", p)
	}
	for n, w := range words[1:] {
		if n == 0 {
			if a, err := netip.ParseAddr(w); err != nil || a.Is4() != p.Addr().Is4() {
				return netip.Prefix{}, malformed(i, "gateway %q", w)
			}
		} else if _, err := strconv.ParseInt(w, 10, 32); err != nil {
			return netip.Prefix{}, malformed(i, "metric %q", w)
		}
	}
	return p, nil
}

// routePrefix reads the prefix of a route. Without a length, an IPv4 prefix has that
// of its class (RFC 2865 §5.22).
func routePrefix(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		return parsePrefix(s)
	}
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return netip.Prefix{}, fmt.Errorf("%q is no prefix", s)
	}
	bits := 24
	switch first := a.As4()[0]; {
	case first < 128:
		bits = 8
	case first < 192:
		bits = 16
	}
	return netip.PrefixFrom(a, bits).Masked(), nil
}

func framedRouteIE(p netip.Prefix) *ie.IE {
	typ := ie.FramedRoute
	if !p.Addr().Is4() {
		typ = ie.FramedIPv6Route
	}
	return ie.New(typ, []byte(p.String()))
}
