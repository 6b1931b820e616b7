package upf

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/braid-upf/braid/atsss/steer"
)

// free5gcConfig is a upfcfg.yaml as free5GC's users have it, with keys that only
// go-upf or nobody knows.
const free5gcConfig = `version: 1.0.3
description: UPF initial local configuration

# The listen IP and nodeID of the N4 interface on this UPF (Can't set to 0.0.0.0)
pfcp:
  addr: 127.0.0.8   # IP addr for listening
  nodeID: upf.free5gc.org # External IP or FQDN can be reached
  retransTimeout: 500ms # retransmission timeout
  maxRetrans: 5 # the max number of retransmission

gtpu:
  forwarder: gtp5g
  # The IP list of the N3/N9 interfaces on this UPF
  # If there are multiple connection, set addr to 0.0.0.0 or list all the addresses
  ifList:
    - addr: 127.0.0.8
      type: N3
      name: upf.5gc.nctu.me
      ifname: gtpif
      mtu: 1400
    - addr: fd00::8
      type: N9

# The DNN list supported by UPF
dnnList:
  - dnn: internet # Data Network Name
    cidr: 10.60.0.0/16 # Classless Inter-Domain Routing for assigned IPv4 pool of UE
    natifname: eth0
  - dnn: internet2
    cidr: 10.61.0.1/16

logger: # log output setting
  enable: true # true or false
  level: warning # how detailed to output, value: trace, debug, info, warn, error, fatal, panic
  reportCaller: false # enable the caller report or not, value: true or false
somethingNew: {a: [1, 2]}
braid: {workers: 2, heartbeat: 10s}
`

func TestFree5GCConfig(t *testing.T) {
	got, err := ParseConfig("upfcfg.yaml", []byte(free5gcConfig))
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Version: "1.0.3", Description: "UPF initial local configuration",
		PFCP: PFCPConfig{Addr: addr("127.0.0.8"), NodeID: "upf.free5gc.org", RetransTimeout: 500 * time.Millisecond, MaxRetrans: 5},
		GTPU: GTPUConfig{Forwarder: "gtp5g", Interfaces: []Interface{
			{Addr: addr("127.0.0.8"), Type: "N3", Name: "upf.5gc.nctu.me", IfName: "gtpif", MTU: 1400, Advertise: addr("127.0.0.8")},
			{Addr: addr("fd00::8"), Type: "N9", Advertise: addr("fd00::8")},
		}},
		DNNs: []DNN{
			{Name: "internet", CIDR: netip.MustParsePrefix("10.60.0.0/16"), NATIfName: "eth0"},
			{Name: "internet2", CIDR: netip.MustParsePrefix("10.61.0.0/16")},
		},
		Logger: LoggerConfig{Enable: true, Level: slog.LevelWarn},
		Braid: BraidConfig{
			Workers: 2, TUN: "upfgtp", Heartbeat: 10 * time.Second, Echo: time.Minute, Grace: 30 * time.Second,
			RA: true, BufferPackets: 64, ReportRate: 1000,
		},
	}
	if diff := cmp.Diff(want, got, cmpRules); diff != "" {
		t.Error(diff)
	}
	if got.GTPU.MTU() != 1400 || len(got.GTPU.Addrs("N3", "N9")) != 2 {
		t.Errorf("MTU %d, addresses %v", got.GTPU.MTU(), got.GTPU.Addrs("N3", "N9"))
	}
}

func TestSampleConfig(t *testing.T) {
	c, err := LoadConfig("../configs/upfcfg.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if c.PFCP.NodeID != "127.0.0.8" || len(c.GTPU.Interfaces) != 1 || len(c.DNNs) != 1 {
		t.Errorf("%+v", c)
	}
	// What is commented out is right too: all keys of ours and a few of free5GC's.
	text, err := os.ReadFile("../configs/upfcfg.yaml")
	if err != nil {
		t.Fatal(err)
	}
	theirs, ours, _ := strings.Cut(string(text), "\n# braid:")
	theirs = regexp.MustCompile(`(?m)^( +)# (\w+: )`).ReplaceAllString(theirs, "$1$2")
	ours = regexp.MustCompile(`(?m)^# `).ReplaceAllString(ours, "")
	whole := theirs + "\nbraid:" + ours
	c, err = ParseConfig("upfcfg.yaml", []byte(whole))
	if err != nil {
		t.Fatalf("%v:\n%s", err, whole)
	}
	if c.GTPU.MTU() != 1400 || c.GTPU.Interfaces[0].Advertise != addr("192.0.2.8") || c.DNNs[0].NATIfName != "eth0" {
		t.Errorf("%+v", c)
	}
	if diff := cmp.Diff(sampleBraid, c.Braid, cmpRules); diff != "" {
		t.Error(diff)
	}
	var keys struct{ Braid map[string]any }
	if err := yaml.Unmarshal([]byte(whole), &keys); err != nil {
		t.Fatal(err)
	}
	for _, k := range braidKeys {
		if keys.Braid[k] == nil {
			t.Errorf("the sample does not show braid.%s", k)
		}
	}
}

// sampleBraid is the section braid of configs/upfcfg.yaml.
var sampleBraid = BraidConfig{
	Workers: 2, TUN: "upfgtp", Heartbeat: 10 * time.Second,
	Peers: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.1/32")},
	State: "/var/lib/braid/upf.state", Echo: time.Minute, Grace: 30 * time.Second, RA: true,
	BufferPackets: 64, ReportRate: 1000, NonGPP: []netip.Prefix{netip.MustParsePrefix("10.100.2.0/24")},
	Rules: []LocalRule{
		{"internet", 1, "010203", steer.Policy{Functionality: steer.MPTCP, Mode: steer.ActiveStandby, Priority: [2]steer.Priority{steer.Active, steer.Standby}, Usable: 3}},
		{"internet", 2, "", steer.Policy{Functionality: steer.MPTCP, Mode: steer.LoadBalancing, Weight: [2]uint8{60, 40}, Priority: none, Usable: 3}},
		{"ims", 0, "", steer.Policy{Functionality: steer.MPTCP, Mode: steer.Redundant, Priority: [2]steer.Priority{steer.Primary, steer.Secondary}, Usable: 3}},
		{"iot", 0, "", steer.Policy{Functionality: steer.MPTCP, Mode: steer.LoadBalancing, Weight: [2]uint8{50, 50}, Priority: none, Indicator: steer.Autonomous, Usable: 3}},
		{"office", 0, "", steer.Policy{Functionality: steer.MPTCP, Mode: steer.PriorityBased, Priority: [2]steer.Priority{steer.Low, steer.High}, Usable: 3}},
		{"gaming", 0, "", steer.Policy{Functionality: steer.MPTCP, Mode: steer.SmallestDelay, Priority: none, Usable: 3}},
	},
	ATSSS: ATSSSConfig{
		Converter:    []netip.AddrPort{netip.MustParseAddrPort("10.200.0.1:5124")},
		LinkSpecific: []netip.Prefix{netip.MustParsePrefix("100.64.0.0/14")},
		PMF: &PMFConfig{
			Addrs: []netip.Addr{addr("10.200.0.2")}, Port: [2]uint16{10500, 10501}, Interval: 250 * time.Millisecond, Idle: 10 * time.Second,
		},
	},
}

// none are the priorities where a mode has none.
var none = [2]steer.Priority{steer.NoStandby, steer.NoStandby}

// TestBraidConfig holds the values that the sample does not show.
func TestBraidConfig(t *testing.T) {
	both := steer.Policy{Functionality: steer.MPTCP, Usable: 3}
	standby, redundant, primary, random, shortest, autonomous := both, both, both, both, both, both
	standby.Priority = [2]steer.Priority{steer.Standby, steer.Active}
	redundant.Mode, redundant.Priority = steer.Redundant, none
	primary.Mode, primary.Priority = steer.Redundant, [2]steer.Priority{steer.Secondary, steer.Primary}
	random.Mode, random.Priority = steer.Random, none
	shortest.Mode, shortest.Priority = steer.SmallestRTTFirst, none
	autonomous.Mode, autonomous.Priority, autonomous.Indicator, autonomous.Weight = steer.LoadBalancing, none, steer.Autonomous, [2]uint8{80, 20}
	prefixes := func(ps ...string) (l []netip.Prefix) {
		for _, p := range ps {
			l = append(l, netip.MustParsePrefix(p))
		}
		return l
	}
	tests := []struct {
		braid string
		want  func(*BraidConfig)
	}{
		{"peers: ['10.1.2.3/8', '::ffff:10.0.0.1', '::ffff:192.0.2.0/120', 'fd00::1', 'fd00::1/64']", func(b *BraidConfig) {
			b.Peers = prefixes("10.0.0.0/8", "10.0.0.1/32", "192.0.2.0/24", "fd00::1/128", "fd00::/64")
		}},
		{"peers: , nonGPP: , multiAccess: , state: ", func(*BraidConfig) {}},
		{"drain: 2s", func(b *BraidConfig) { b.Drain = 2 * time.Second }},
		{"echo: 0s, errorIndicationGrace: 0s", func(b *BraidConfig) { b.Echo, b.Grace = 0, 0 }},
		{"ueToUE: local, routerAdvertisement: false, buffer: 10000, reportRate: 1", func(b *BraidConfig) {
			b.UEToUE, b.RA, b.BufferPackets, b.ReportRate = true, false, 10000, 1
		}},
		{"multiAccess: [{mode: active-standby, active: non-3gpp}]", func(b *BraidConfig) { b.Rules = []LocalRule{{Policy: standby}} }},
		{"multiAccess: [{dnn: ims, mode: redundant, snssai: {sst: 255, sd: 0A0b0C}}]", func(b *BraidConfig) {
			b.Rules = []LocalRule{{"ims", 255, "0a0b0c", redundant}}
		}},
		{"multiAccess: [{mode: redundant, primary: non-3gpp}]", func(b *BraidConfig) { b.Rules = []LocalRule{{Policy: primary}} }},
		{"multiAccess: [{mode: random}, {mode: smallest-rtt}]", func(b *BraidConfig) { b.Rules = []LocalRule{{Policy: random}, {Policy: shortest}} }},
		{"multiAccess: [{mode: load-balancing, autonomous: true, weights: {3gpp: 80, non-3gpp: 20}}]", func(b *BraidConfig) {
			b.Rules = []LocalRule{{Policy: autonomous}}
		}},
		{"atsss: {}", func(*BraidConfig) {}},
		{"atsss: {converter: {addrs: [10.9.0.1, fd00:9::1], port: 5, cookies: true}, linkSpecific: [100.64.0.0/31, fd00:a7::/48]}", func(b *BraidConfig) {
			b.ATSSS.Cookies = true
			b.ATSSS.Converter = []netip.AddrPort{netip.MustParseAddrPort("10.9.0.1:5"), netip.MustParseAddrPort("[fd00:9::1]:5")}
			b.ATSSS.LinkSpecific = prefixes("100.64.0.0/31", "fd00:a7::/48")
		}},
		{"atsss: {pmf: {addrs: [fd00:9::1], 3gpp: 1000, non-3gpp: 2000, interval: 1s, idle: 0s}}", func(b *BraidConfig) {
			b.ATSSS.PMF = &PMFConfig{Addrs: []netip.Addr{addr("fd00:9::1")}, Port: [2]uint16{1000, 2000}, Interval: time.Second}
		}},
	}
	for _, tc := range tests {
		got, err := ParseConfig("upfcfg.yaml", []byte(withBraid(tc.braid)))
		if err != nil {
			t.Errorf("%s: %v", tc.braid, err)
			continue
		}
		want := BraidConfig{TUN: "upfgtp", Echo: time.Minute, Grace: 30 * time.Second, RA: true, BufferPackets: 64, ReportRate: 1000}
		tc.want(&want)
		if diff := cmp.Diff(want, got.Braid, cmpRules); diff != "" {
			t.Errorf("%s: %s", tc.braid, diff)
		}
	}
}

func withBraid(keys string) string {
	return strings.Replace(free5gcConfig, "workers: 2, heartbeat: 10s", keys, 1)
}

func TestBrokenBraidConfig(t *testing.T) {
	const prefixes = "allowed: a list of addresses such as 10.0.0.1 and address ranges such as 10.0.0.0/8"
	const words = "active-standby, load-balancing, priority-based, random, redundant, smallest-delay, smallest-rtt"
	const versions = "allowed: a list of one address such as 10.200.0.1, or of one of each IP version"
	const apart = "allowed: addresses that mean nothing else"
	tests := []struct{ braid, want string }{
		{"peers: 10.0.0.0/8", "peers: " + prefixes},
		{"peers: []", "peers: " + prefixes},
		{"peers: [10.0.0.1, smf.example]", `peers[1]: "smf.example", ` + prefixes},
		{"peers: [10.0.0.0/33]", `peers[0]: "10.0.0.0/33", ` + prefixes},
		{"peers: ['fe80::1%eth0']", `peers[0]: "fe80::1%eth0", ` + prefixes},
		{"nonGPP: [{a: 1}]", `nonGPP[0]: "", ` + prefixes},
		{"state: [a]", "state: allowed: one value"},
		{"echo: 60", `echo: "60", allowed: a time from 0s to 1h0m0s, such as 1s or 500ms`},
		{"errorIndicationGrace: -1s", `errorIndicationGrace: "-1s", allowed: a time from 0s to 1h0m0s, such as 1s or 500ms`},
		{"ueToUE: both", `ueToUE: "both", allowed: n6, local`},
		{"routerAdvertisement: 1", `routerAdvertisement: "1", allowed: true, false`},
		{"buffer: 0", `buffer: "0", allowed: a whole number from 1 to 10000`},
		{"buffer: 10001", `buffer: "10001", allowed: a whole number from 1 to 10000`},
		{"reportRate: 0", `reportRate: "0", allowed: a whole number from 1 to 1000000`},
		{"multiAccess: {mode: redundant}", "multiAccess: allowed: a list with one entry or more"},
		{"multiAccess: [redundant]", "multiAccess[0]: allowed: keys and values\nupfcfg.yaml:37: braid.multiAccess[0].mode: is not there, allowed: " + words},
		{"multiAccess: [{dnn: a}]", "multiAccess[0].mode: is not there, allowed: " + words},
		{"multiAccess: [{mode: least-cost}]", `multiAccess[0].mode: "least-cost", allowed: ` + words},
		{"multiAccess: [{mode: smallest-delay, active: 3gpp}]", "multiAccess[0].active: unknown key, allowed: dnn, snssai, mode"},
		{"multiAccess: [{mode: priority-based}]", `multiAccess[0].high: "", allowed: 3gpp, non-3gpp`},
		{"multiAccess: [{mode: priority-based, high: lte}]", `multiAccess[0].high: "lte", allowed: 3gpp, non-3gpp`},
		{"multiAccess: [{mode: load-balancing, autonomous: perhaps, weights: {3gpp: 60, non-3gpp: 40}}]", `multiAccess[0].autonomous: "perhaps", allowed: true, false`},
		{"multiAccess: [{mode: load-balancing, autonomous: true, weights: {3gpp: 60, non-3gpp: 30}}]", "multiAccess[0].weights: the sum is 90, allowed: 100"},
		{"atsss: 1", "atsss: allowed: keys and values"},
		{"atsss: {proxy: 1}", "atsss.proxy: unknown key, allowed: converter, linkSpecific, pmf"},
		{"atsss: {converter: {addrs: [10.9.0.1]}}", "atsss.linkSpecific: has none of the IP version of the converter's address 10.9.0.1, allowed: ranges of each of its IP versions"},
		{"atsss: {converter: {addrs: [10.9.0.1]}, linkSpecific: ['fd00::/48']}", "atsss.linkSpecific: has none of the IP version of the converter's address 10.9.0.1, allowed: ranges of each of its IP versions"},
		{"atsss: {linkSpecific: [100.64.0.0/14]}", "atsss.linkSpecific: without a converter, allowed: both or neither"},
		{"atsss: {converter: {addrs: [10.9.0.1]}, linkSpecific: [100.64.0.1]}", "atsss.linkSpecific: 100.64.0.1/32, allowed: ranges of two addresses and more"},
		{"atsss: {converter: {port: 1}}", "atsss.converter.addrs: is not there, " + versions},
		{"atsss: {converter: {addrs: 10.9.0.1}}", "atsss.converter.addrs: " + prefixes},
		{"atsss: {converter: {addrs: [10.9.0.0/24]}, linkSpecific: [100.64.0.0/14]}", "atsss.converter.addrs: 10.9.0.0/24, " + versions},
		{"atsss: {converter: {addrs: [10.9.0.1, 10.9.0.2]}, linkSpecific: [100.64.0.0/14]}", "atsss.converter.addrs: 10.9.0.2/32, " + versions},
		{"atsss: {converter: {addrs: [0.0.0.0]}, linkSpecific: [100.64.0.0/14]}", "atsss.converter.addrs: 0.0.0.0/32, " + versions},
		{"atsss: {converter: {addrs: [10.9.0.1], port: 0}, linkSpecific: [100.64.0.0/14]}", `atsss.converter.port: "0", allowed: a whole number from 1 to 65535`},
		{"atsss: {converter: {addrs: [10.9.0.1], ports: 0}, linkSpecific: [100.64.0.0/14]}", "atsss.converter.ports: unknown key, allowed: addrs, port, cookies"},
		{"atsss: {converter: {addrs: [10.60.0.1]}, linkSpecific: [100.64.0.0/14]}", "atsss: 10.60.0.1/32 is in the dnnList's 10.60.0.0/16, " + apart},
		{"atsss: {converter: {addrs: [10.9.0.1]}, linkSpecific: [10.0.0.0/8]}", "atsss: 10.0.0.0/8 is in the dnnList's 10.60.0.0/16, " + apart +
			"\nupfcfg.yaml:37: braid.atsss: 10.0.0.0/8 is in the dnnList's 10.61.0.0/16, " + apart + "\nupfcfg.yaml:37: braid.atsss: 10.9.0.1/32 is in the link-specific 10.0.0.0/8, " + apart},
		{"atsss: {pmf: {addrs: [10.9.0.1], 3gpp: 10500, non-3gpp: 10502}}", "atsss.pmf: ports 10500 and 10502, allowed: two that lie an odd number apart, or more than 126: those of QoS flows follow in steps of two"},
		{"atsss: {pmf: {addrs: [10.9.0.1], 3gpp: 65500}}", `atsss.pmf.3gpp: "65500", allowed: a whole number from 1 to 65409`},
		{"atsss: {pmf: {addrs: [10.9.0.1], interval: 1ms}}", `atsss.pmf.interval: "1ms", allowed: a time from 10ms to 1m0s, such as 1s or 500ms`},
		{"atsss: {pmf: {addrs: [10.9.0.1], wifi: 1}}", "atsss.pmf.wifi: unknown key, allowed: addrs, 3gpp, non-3gpp, interval, idle"},
		{"multiAccess: [{mode: active-standby}]", `multiAccess[0].active: "", allowed: 3gpp, non-3gpp`},
		{"multiAccess: [{mode: active-standby, active: wifi}]", `multiAccess[0].active: "wifi", allowed: 3gpp, non-3gpp`},
		{"multiAccess: [{mode: active-standby, active: 3gpp, weights: {}}]", "multiAccess[0].weights: unknown key, allowed: dnn, snssai, mode, active"},
		{"multiAccess: [{mode: redundant, primary: both}]", `multiAccess[0].primary: "both", allowed: 3gpp, non-3gpp`},
		{"multiAccess: [{mode: load-balancing, weights: {3gpp: 60, non-3gpp: 50}}]", "multiAccess[0].weights: the sum is 110, allowed: 100"},
		{"multiAccess: [{mode: load-balancing, weights: {3gpp: 300, non-3gpp: 50}}]", `multiAccess[0].weights.3gpp: "300", allowed: a whole number from 0 to 100`},
		{"multiAccess: [{mode: load-balancing, weights: {3gpp: 100}}]", "multiAccess[0].weights.non-3gpp: is not there, allowed: percent, a whole number from 0 to 100"},
		{"multiAccess: [{mode: load-balancing, weights: {3gpp: 60, non-3gpp: 40, wifi: 0}}]", "multiAccess[0].weights.wifi: unknown key, allowed: 3gpp, non-3gpp"},
		{"multiAccess: [{mode: redundant, snssai: 1}]", "multiAccess[0].snssai: allowed: keys and values\nupfcfg.yaml:37: braid.multiAccess[0].snssai.sst: is not there, allowed: a whole number from 1 to 255"},
		{"multiAccess: [{mode: redundant, snssai: {sd: '010203'}}]", "multiAccess[0].snssai.sst: is not there, allowed: a whole number from 1 to 255"},
		{"multiAccess: [{mode: redundant, snssai: {sst: 0}}]", `multiAccess[0].snssai.sst: "0", allowed: a whole number from 1 to 255`},
		{"multiAccess: [{mode: redundant, snssai: {sst: 1, sd: 10203}}]", `multiAccess[0].snssai.sd: "10203", allowed: six hex digits such as 010203`},
		{"multiAccess: [{mode: redundant, snssai: {sst: 1, sd: 0x0102}}]", `multiAccess[0].snssai.sd: "0x0102", allowed: six hex digits such as 010203`},
	}
	for _, tc := range tests {
		_, err := ParseConfig("upfcfg.yaml", []byte(withBraid(tc.braid)))
		var ce *ConfigError
		if want := "upfcfg.yaml:37: braid." + tc.want; !errors.As(err, &ce) || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", tc.braid, err, want)
		}
	}
}

func TestBrokenConfig(t *testing.T) {
	tests := []struct{ name, old, new, want string }{
		{"no YAML", "  maxRetrans: 5", "\tmaxRetrans: 5", "upfcfg.yaml: line 9: found character that cannot start any token"},
		{"no pfcp.addr", "  addr: 127.0.0.8   #", "  #", "upfcfg.yaml:7: pfcp.addr: is not there, allowed: an IP address or a host name"},
		{"timeout", "500ms", "500", `upfcfg.yaml:8: pfcp.retransTimeout: "500", allowed: a time from 1ms to 1m0s, such as 1s or 500ms`},
		{"negative", "maxRetrans: 5", "maxRetrans: -1", `upfcfg.yaml:9: pfcp.maxRetrans: "-1", allowed: a whole number from 0 to 255`},
		{"twice", "  maxRetrans: 5", "  maxRetrans: 5\n  maxRetrans: 5", "upfcfg.yaml:10: pfcp.maxRetrans: is there twice, allowed: once"},
		{"a list for a value", "maxRetrans: 5", "maxRetrans: [5]", "upfcfg.yaml:9: pfcp.maxRetrans: allowed: one value"},
		{"forwarder", "forwarder: gtp5g", "forwarder: gtp6g", `upfcfg.yaml:12: gtpu.forwarder: "gtp6g", allowed: gtp5g, sockets`},
		{"interface type", "type: N3", "type: N6", `upfcfg.yaml:17: gtpu.ifList[0].type: "N6", allowed: N3, N9`},
		{"advertised address of the other IP version", "addr: fd00::8\n      type: N9", "{addr: fd00::8, advertise: 192.0.2.8}", `upfcfg.yaml:21: gtpu.ifList[1].advertise: "192.0.2.8", allowed: an address that peers can send to, of the IP version of addr`},
		{"advertised address that is none", "mtu: 1400", "advertise: 0.0.0.0", `upfcfg.yaml:20: gtpu.ifList[0].advertise: "0.0.0.0", allowed: an address that peers can send to, of the IP version of addr`},
		{"interface address", "addr: fd00::8", "mtu: 9000", "upfcfg.yaml:21: gtpu.ifList[1].addr: is not there, allowed: an IP address or a host name"},
		{"range", "10.60.0.0/16", "10.60.0.0", `upfcfg.yaml:27: dnnList[0].cidr: "10.60.0.0", allowed: an address range such as 10.60.0.0/16`},
		{"no DNN", "dnnList:", "dnnlist:", "upfcfg.yaml:1: dnnList: allowed: a list with one entry or more"},
		{"level", "level: warning", "level: loud", `upfcfg.yaml:34: logger.level: "loud", allowed: trace, debug, info, warn, warning, error, fatal, panic`},
		{"boolean", "enable: true", "enable: perhaps", `upfcfg.yaml:33: logger.enable: "perhaps", allowed: true, false`},
		{"workers", "workers: 2", "workers: 65", `upfcfg.yaml:37: braid.workers: "65", allowed: a whole number from 0 to 64`},
		{"device name", "heartbeat: 10s", "tun: a-name-too-long-for-linux", `upfcfg.yaml:37: braid.tun: "a-name-too-long-for-linux", allowed: a device name of 1 to 15 letters`},
		{"unknown key of ours", "heartbeat: 10s", "hartbeat: 10s", "upfcfg.yaml:37: braid.hartbeat: unknown key, allowed: " + strings.Join(braidKeys, ", ")},
		{"section that is none", "braid: {workers: 2, heartbeat: 10s}", "braid: 2", "upfcfg.yaml:37: braid: allowed: keys and values"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if strings.Count(free5gcConfig, tc.old) != 1 && tc.name != "no pfcp.addr" {
				t.Fatalf("%q is not there once", tc.old)
			}
			_, err := ParseConfig("upfcfg.yaml", []byte(strings.Replace(free5gcConfig, tc.old, tc.new, 1)))
			var ce *ConfigError
			if !errors.As(err, &ce) || err.Error() != tc.want {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
	if _, err := ParseConfig("empty.yaml", nil); err == nil || !strings.Contains(err.Error(), "pfcp.addr") || !strings.Contains(err.Error(), "gtpu.ifList") {
		t.Errorf("empty config: %v, want all that is missing", err)
	}
}

func TestLogLine(t *testing.T) {
	var out bytes.Buffer
	log := NewLogger(&out, slog.LevelInfo, false)
	log.Debug("not this")
	log.With(CategoryKey, "PFCP", "node", "a b").WithGroup("g").Warn("what", "n", 1)
	want := regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z \[WARN\]\[UPF\]\[PFCP\] what node="a b" g\.n=1\n$`)
	if !want.MatchString(out.String()) {
		t.Errorf("got %q", out.String())
	}
}
