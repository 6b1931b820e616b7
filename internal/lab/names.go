package lab

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"

	"github.com/braid-upf/braid/atsss/steer"
)

// Roles of the namespaces; the namespace of a role is <lab name>-<role>.
const (
	UE    = "ue"
	GNB   = "gnb"
	N3IWF = "n3iwf"
	UPF   = "upf"
	SMF   = "smf"
	DN    = "dn"
)

// Roles lists every role.
func Roles() []string { return []string{UE, GNB, N3IWF, UPF, SMF, DN} }

// DefaultName is the lab that commands act on when none is named.
const DefaultName = "braid"

// Addresses of the lab. They are the same in every lab: namespaces keep them apart.
var (
	UEAddr    = [steer.NumAccesses]netip.Addr{addr("10.60.0.1"), addr("10.60.0.2")}
	UEAddr6   = [steer.NumAccesses]netip.Addr{addr("fd00:60::1"), addr("fd00:60::2")}
	UPFN3Addr = addr("10.100.1.1") // the UPF's only N3 address, for both accesses
	UPFN4Addr = addr("10.100.4.1")
	SMFAddr   = addr("10.100.4.2")
	DNAddr    = addr("10.100.6.2")
	DNAddr6   = addr("fd00:100:6::2")
	UEPool    = netip.MustParsePrefix("10.60.0.0/16") // what dn routes to the UPF
	UEPool6   = netip.MustParsePrefix("fd00:60::/64")

	// What the UPF tells UEs of itself: the MPTCP proxy's address and link-specific ones.
	ConverterAddr     = addr("10.61.0.1")
	ConverterAddr6    = addr("fd00:61::1")
	LinkSpecificPool  = netip.MustParsePrefix("10.62.0.0/16")
	LinkSpecificPool6 = netip.MustParsePrefix("fd00:62::/48")
	pmfAddr           = addr("10.61.0.2")
	pmfAddr6          = addr("fd00:61::2")

	upfN6Addr   = addr("10.100.6.1")
	upfN6Addr6  = addr("fd00:100:6::1")
	n3iwfGWAddr = addr("10.100.2.1") // the UPF's side of the N3IWF's link
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// maxUEAddresses bounds [Options.UEAddresses]: what fits into the third byte of
// UEPool's addresses.
const maxUEAddresses = 256

// UEAddress is address number k of the UE on an access, 0 being UEAddr[a] and
// UEAddr6[a]; the lab has those below [Options.UEAddresses].
func UEAddress(a steer.Access, k int, v6 bool) netip.Addr {
	if v6 {
		b := UEAddr6[a].As16()
		b[13] = byte(k)
		return netip.AddrFrom16(b)
	}
	b := UEAddr[a].As4()
	b[2] = byte(k)
	return netip.AddrFrom4(b)
}

// ueAddresses is every address of the UE on an access, those of IPv4 first.
func (o *Options) ueAddresses(a steer.Access) (all []netip.Addr) {
	for _, v6 := range []bool{false, true} {
		for k := range o.UEAddresses {
			if !v6 || o.IPv6 {
				all = append(all, UEAddress(a, k, v6))
			}
		}
	}
	return all
}

// accessPlan are the fixed facts of an access.
type accessPlan struct {
	role string     // of the namespace
	tun  string     // device in the UE's namespace
	n3   netip.Addr // address of the gNB or N3IWF
	teid uint32     // downlink
}

var accessPlans = [steer.NumAccesses]accessPlan{
	steer.Access3GPP:    {GNB, "ue0", addr("10.100.1.2"), 0x101},
	steer.AccessNon3GPP: {N3IWF, "ue1", addr("10.100.2.2"), 0x201},
}

// labQFI is the QoS flow of the lab's session.
const labQFI = 9

// ueMTU leaves room for GTP-U with one extension header (44 bytes) in an N3 MTU of
// 1,500; 1,400 is what radio networks use.
const ueMTU = 1400

// ParseAccess reads the name of an access as [steer.Access.String] gives it.
func ParseAccess(s string) (steer.Access, error) {
	for a := range steer.Access(steer.NumAccesses) {
		if a.String() == s {
			return a, nil
		}
	}
	return 0, fmt.Errorf("access %q: must be %v or %v", s, steer.Access3GPP, steer.AccessNon3GPP)
}

// Where the state of labs is. Payload files lie on disk: /run is often small.
const (
	stateRoot = "/run/braid"
	dataRoot  = "/var/lib/braid-lab"
	netnsRoot = "/run/netns"
)

var nameFormat = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,31}$`)

func checkName(name string) error {
	if !nameFormat.MatchString(name) {
		return fmt.Errorf("lab name %q: must be 1 to 32 letters, digits, '_', '.' or '-', a letter or digit first", name)
	}
	return nil
}

// Namespace is the full name of a role's namespace, for `ip netns exec`.
func (l *Lab) Namespace(role string) string { return l.name + "-" + role }

// Dir is the lab's state directory: configurations, logs, sockets, and www with
// what nginx serves.
func (l *Lab) Dir() string { return l.dir }

// WWW is the root of what nginx serves; PUT goes to its upload directory.
func (l *Lab) WWW() string { return filepath.Join(l.dir, "www") }

func (l *Lab) path(elem ...string) string {
	return filepath.Join(append([]string{l.dir}, elem...)...)
}
