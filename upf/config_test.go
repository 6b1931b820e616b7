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
			{Addr: addr("127.0.0.8"), Type: "N3", Name: "upf.5gc.nctu.me", IfName: "gtpif", MTU: 1400},
			{Addr: addr("fd00::8"), Type: "N9"},
		}},
		DNNs: []DNN{
			{Name: "internet", CIDR: netip.MustParsePrefix("10.60.0.0/16"), NATIfName: "eth0"},
			{Name: "internet2", CIDR: netip.MustParsePrefix("10.61.0.0/16")},
		},
		Logger: LoggerConfig{Enable: true, Level: slog.LevelWarn},
		Braid:  BraidConfig{Workers: 2, TUN: "upfgtp", Heartbeat: 10 * time.Second},
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
	// What is commented out is right too.
	text, err := os.ReadFile("../configs/upfcfg.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`(?m)^( *)# (braid:|  \w+: |mtu: |natifname: )`).ReplaceAll(text, []byte("$1$2"))
	c, err = ParseConfig("upfcfg.yaml", text)
	if err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	if c.Braid.Workers != 2 || c.Braid.TUN != "upfgtp" || c.Braid.Heartbeat != 10*time.Second || c.GTPU.MTU() != 1400 || c.DNNs[0].NATIfName != "eth0" {
		t.Errorf("%+v", c)
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
		{"interface address", "addr: fd00::8", "mtu: 9000", "upfcfg.yaml:21: gtpu.ifList[1].addr: is not there, allowed: an IP address or a host name"},
		{"range", "10.60.0.0/16", "10.60.0.0", `upfcfg.yaml:27: dnnList[0].cidr: "10.60.0.0", allowed: an address range such as 10.60.0.0/16`},
		{"no DNN", "dnnList:", "dnnlist:", "upfcfg.yaml:1: dnnList: allowed: a list with one entry or more"},
		{"level", "level: warning", "level: loud", `upfcfg.yaml:34: logger.level: "loud", allowed: trace, debug, info, warn, warning, error, fatal, panic`},
		{"boolean", "enable: true", "enable: perhaps", `upfcfg.yaml:33: logger.enable: "perhaps", allowed: true, false`},
		{"workers", "workers: 2", "workers: 65", `upfcfg.yaml:37: braid.workers: "65", allowed: a whole number from 0 to 64`},
		{"device name", "heartbeat: 10s", "tun: a-name-too-long-for-linux", `upfcfg.yaml:37: braid.tun: "a-name-too-long-for-linux", allowed: a device name of 1 to 15 letters`},
		{"unknown key of ours", "heartbeat: 10s", "hartbeat: 10s", "upfcfg.yaml:37: braid.hartbeat: unknown key, allowed: workers, tun, heartbeat"},
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
