package upf

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/braid-upf/braid/atsss/steer"
)

// Config is a free5GC upfcfg.yaml, with our own keys under "braid".
type Config struct {
	Version     string
	Description string
	PFCP        PFCPConfig
	GTPU        GTPUConfig
	DNNs        []DNN
	Logger      LoggerConfig
	Braid       BraidConfig
}

// PFCPConfig is the section pfcp: N4.
type PFCPConfig struct {
	Addr           netip.Addr
	NodeID         string        // an address or a name; Addr's text if not given
	RetransTimeout time.Duration // T1
	MaxRetrans     int           // N1
}

// GTPUConfig is the section gtpu: N3 and N9.
type GTPUConfig struct {
	Forwarder  string
	Interfaces []Interface
}

// Addrs are the addresses of the interfaces of the types, each once.
func (g *GTPUConfig) Addrs(types ...string) []netip.Addr {
	var as []netip.Addr
	for _, i := range g.Interfaces {
		if slices.Contains(types, i.Type) && !slices.Contains(as, i.Addr) {
			as = append(as, i.Addr)
		}
	}
	return as
}

// MTU is the smallest MTU that an interface gives: the longest packet of a UE, in
// octets, that fits a tunnel; 0 if none gives one.
func (g *GTPUConfig) MTU() int {
	mtu := 0
	for _, i := range g.Interfaces {
		if i.MTU > 0 && (mtu == 0 || i.MTU < mtu) {
			mtu = i.MTU
		}
	}
	return mtu
}

// Interface is an entry of gtpu.ifList.
type Interface struct {
	Addr   netip.Addr
	Type   string // N3 or N9
	Name   string
	IfName string
	MTU    int // of the UE's packets, octets; 0 = not given

	// Advertise is the address in the F-TEIDs that we give out, where a NAT or a load
	// balancer stands in front of Addr; Addr if not given.
	Advertise netip.Addr
}

// DNN is an entry of dnnList: the UE addresses of a data network.
type DNN struct {
	Name      string
	CIDR      netip.Prefix
	NATIfName string // NAT to this interface; "" = none
}

// LoggerConfig is the section logger.
type LoggerConfig struct {
	Enable       bool
	Level        slog.Level
	ReportCaller bool
}

// BraidConfig is the section braid, which free5GC does not know.
type BraidConfig struct {
	Workers   int           // 0 = one per core that we may use
	TUN       string        // name of the N6 device
	Heartbeat time.Duration // between our heartbeats to each associated peer; 0 = none

	Peers  []netip.Prefix // CP functions that we talk to; empty = any
	State  string         // file that keeps the sessions over a restart; "" = they are not kept
	Drain  time.Duration  // how long CP functions have at the end to release their associations; 0 = they are not asked
	Echo   time.Duration  // between GTP-U Echo Requests to each peer; 0 = none
	Grace  time.Duration  // after the start, during which an unknown TEID gets no Error Indication
	UEToUE bool           // packets from UE to UE are switched here and do not go to N6
	RA     bool           // Router Solicitations of UEs are answered here, unless the SMF takes them

	BufferPackets int // most packets that a session buffers while its UE is idle
	ReportRate    int // most Session Report Requests a second to one SMF

	NonGPP []netip.Prefix // N3 peers (N3IWF, TNGF) whose sessions come over non-3GPP access
	Rules  []LocalRule    // multi-access rules for SMFs that know none; the first that fits counts
	ATSSS  ATSSSConfig    // what SMFs that know them are told of
}

// LocalRule gives the sessions of a data network, or of a slice in it, a multi-access
// rule that their SMF did not give.
type LocalRule struct {
	DNN    string // "" = any
	SST    uint8  // 0 = any slice
	SD     string // six hex digits; "" = any
	Policy steer.Policy
}

// ConfigError says all that is wrong with a config file: one line each, with the
// file, the line, the key and what is allowed.
type ConfigError struct{ Faults []string }

// Error gives the faults, one a line.
func (e *ConfigError) Error() string { return strings.Join(e.Faults, "\n") }

// LoadConfig reads the config file. Keys that it does not know are passed over,
// as free5GC does, except under braid. A broken file gives a [*ConfigError].
func LoadConfig(file string) (*Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return ParseConfig(filepath.Base(file), text)
}

// ParseConfig reads the text of a config file; file is its name in faults. Host
// names are looked up.
func ParseConfig(file string, text []byte) (*Config, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, &ConfigError{[]string{fmt.Sprintf("%s: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))}}
	}
	r := &reader{file: file}
	var root *yaml.Node
	if len(doc.Content) > 0 {
		root = doc.Content[0]
	}
	c := r.config(r.section("", root, 1))
	if len(r.faults) > 0 {
		return nil, &ConfigError{r.faults}
	}
	return c, nil
}

func (r *reader) config(s *section) *Config {
	c := &Config{
		Version:     s.text("version"),
		Description: s.text("description"),
		PFCP:        r.pfcp(s.sub("pfcp")),
		GTPU:        r.gtpu(s.sub("gtpu")),
		DNNs:        r.dnns(s),
		Logger:      r.logger(s.sub("logger")),
	}
	c.Braid = r.braid(s.sub("braid"), c.DNNs)
	return c
}

func (r *reader) pfcp(s *section) PFCPConfig {
	p := PFCPConfig{
		Addr:           s.address("addr"),
		NodeID:         s.text("nodeID"),
		RetransTimeout: s.duration("retransTimeout", time.Second, time.Millisecond, time.Minute),
		MaxRetrans:     s.number("maxRetrans", 3, 0, 255),
	}
	if p.NodeID == "" && p.Addr.IsValid() {
		p.NodeID = p.Addr.String()
	}
	return p
}

func (r *reader) gtpu(s *section) GTPUConfig {
	g := GTPUConfig{Forwarder: s.oneOf("forwarder", "gtp5g", "gtp5g", "sockets")}
	for _, i := range s.list("ifList") {
		g.Interfaces = append(g.Interfaces, r.gtpuInterface(i))
	}
	return g
}

func (r *reader) gtpuInterface(s *section) Interface {
	i := Interface{
		Addr:   s.address("addr"),
		Type:   s.oneOf("type", "N3", "N3", "N9"),
		Name:   s.text("name"),
		IfName: s.text("ifname"),
		MTU:    s.number("mtu", 0, 0, 65535),
	}
	i.Advertise = i.Addr
	if v, line, ok := s.scalar("advertise"); ok && i.Addr.IsValid() {
		i.Advertise = s.address("advertise")
		if a := i.Advertise; a.IsValid() && (a.Is4() != i.Addr.Is4() || a.IsUnspecified()) {
			r.fail(line, s.path+"advertise", "%q, allowed: an address that peers can send to, of the IP version of addr", v)
		}
	}
	return i
}

func (r *reader) dnns(s *section) []DNN {
	var ds []DNN
	for _, e := range s.list("dnnList") {
		const allowed = "an address range such as 10.60.0.0/16"
		d := DNN{NATIfName: e.text("natifname")}
		d.Name, _, _ = e.required("dnn", "the data network's name")
		if v, line, ok := e.required("cidr", allowed); ok {
			var err error
			if d.CIDR, err = netip.ParsePrefix(v); err != nil {
				r.fail(line, e.path+"cidr", "%q, allowed: %s", v, allowed)
			}
			d.CIDR = d.CIDR.Masked()
		}
		ds = append(ds, d)
	}
	return ds
}

// levels are free5GC's words, which are logrus's.
var levels = map[string]slog.Level{
	"trace": slog.LevelDebug - 4, "debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn,
	"warning": slog.LevelWarn, "error": slog.LevelError, "fatal": slog.LevelError + 4, "panic": slog.LevelError + 8,
}

func (r *reader) logger(s *section) LoggerConfig {
	level := s.oneOf("level", "info", "trace", "debug", "info", "warn", "warning", "error", "fatal", "panic")
	return LoggerConfig{
		Enable:       s.boolean("enable", true),
		Level:        levels[level],
		ReportCaller: s.boolean("reportCaller", false),
	}
}

// IsConfigError says whether err is about what a config file says, rather than
// about reading it.
func IsConfigError(err error) bool {
	var ce *ConfigError
	return errors.As(err, &ce)
}
