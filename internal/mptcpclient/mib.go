package mptcpclient

import (
	"fmt"
	"slices"
	"strings"
)

// Counters is a namespace's MIB: /proc/net/netstat and /proc/net/snmp, group and
// name joined, as "MPTcpExtMPRstTx".
type Counters map[string]uint64

// Counters that tell of a wrong translation: each stands for a mapping, a key or
// an acknowledgement that the UE's kernel had to refuse, or for MPTCP given up.
var ueZero = []string{
	"MPTcpExtDSSNotMatching",          // another mapping for bytes already mapped
	"MPTcpExtDSSNoMatchTCP",           // a mapping that is not at the segment's place
	"MPTcpExtDSSCorruptionFallback",   // a mapping shorter than its segment, first subflow
	"MPTcpExtDSSCorruptionReset",      // the same on a join
	"MPTcpExtDssFallback",             // data without a mapping
	"MPTcpExtMPCapableDataFallback",   // first packet without a DATA_ACK
	"MPTcpExtMPCapableFallbackSYNACK", // SYN/ACK without MP_CAPABLE
	"MPTcpExtMPFallbackTokenInit",     // no token for the key
	"MPTcpExtMPCapableSYNTXDrop",      // SYN with MP_CAPABLE given up
	"MPTcpExtMPCapableSYNTXDisabled",  // MPTCP not tried because of blackhole detection
	"MPTcpExtBlackhole",               // MPTCP switched off for the namespace
	"MPTcpExtInfiniteMapRx",           // mapping of length 0
	"MPTcpExtDataCsumErr",
	"MPTcpExtMPFailTx",
	"MPTcpExtMPJoinSynAckHMacFailure",
	"MPTcpExtNoDSSInWindow", // data outside the connection's window: acknowledged, but dropped
	"MPTcpExtMPRstTx",       // a subflow reset by the UE
	"MPTcpExtFallbackFailed",
	"TcpExtTCPSACKReneging", // a SACK block taken back
}

// ServerReneging is the server's counter of SACK blocks taken back. It may move
// when an access dies, but not otherwise: what the UE has selectively acknowledged
// on the dead subflow, above a hole there, is lost to it with that subflow, and the
// only way in which a TCP sender learns of it is that the cumulative
// acknowledgment stops there (RFC 2018 §8).
const ServerReneging = "TcpExtTCPSACKReneging"

// The same for the server's plain TCP.
var serverZero = []string{
	ServerReneging,
	"TcpExtPAWSEstab", // timestamp older than one seen before
}

// CheckUE says which counters of the UE's namespace moved between two readings
// that should not have; allow names counters that may. A counter that the kernel
// does not have is an error too.
func CheckUE(before, after Counters, allow ...string) error {
	return checkZero("ue", before, after, ueZero, allow)
}

// CheckServer is [CheckUE] for the namespace of the TCP server; see
// [ServerReneging].
func CheckServer(before, after Counters, allow ...string) error {
	return checkZero("dn", before, after, serverZero, allow)
}

func checkZero(where string, before, after Counters, names, allow []string) error {
	var bad []string
	for _, name := range names {
		b, okB := before[name]
		a, okA := after[name]
		switch {
		case !okB || !okA:
			bad = append(bad, name+" is not a counter of this kernel")
		case a != b && !slices.Contains(allow, name):
			bad = append(bad, fmt.Sprintf("%s rose by %d", name, a-b))
		}
	}
	for _, name := range allow {
		if !slices.Contains(names, name) {
			bad = append(bad, name+" is allowed to rise but was never checked")
		}
	}
	if bad != nil {
		return fmt.Errorf("MIB of %s: %s", where, strings.Join(bad, "; "))
	}
	return nil
}

// CheckedCounters is how many counters [CheckUE] and [CheckServer] look at.
func CheckedCounters() int { return len(ueZero) + len(serverZero) }
