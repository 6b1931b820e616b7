package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"text/template"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/pfcp"
	"github.com/braid-upf/braid/smf"
)

// The parts of the lab that are processes: how each is configured and started, and
// when it is ready.

func (l *Lab) startAccesses(ctx context.Context) error {
	for a, plan := range accessPlans {
		access := steer.Access(a).String()
		cfg := AccessConfig{
			Access:       access,
			UENamespace:  l.Namespace(UE),
			RANNamespace: l.Namespace(plan.role),
			TUN:          plan.tun,
			Address:      plan.n3,
			TEID:         plan.teid,
			QFI:          labQFI,
			Control:      l.controlSocket(steer.Access(a)),
			SMFState:     l.path("smf.json"),
			Seed:         uint64(2 * a),
		}
		name := procAccess(access)
		b, err := json.MarshalIndent(&cfg, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(l.path(name+".conf"), b, 0o644); err != nil {
			return err
		}
		if err := l.start(name, "", []string{l.opts.BraidBin, "lab", "access", l.path(name + ".conf")}); err != nil {
			return err
		}
		if err := l.await(ctx, name, "access "+access, func() (string, error) {
			return reason(ask(cfg.Control, request{}))
		}); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) controlSocket(a steer.Access) string { return l.path(procAccess(a.String()) + ".sock") }

var nginxConf = template.Must(template.New("nginx.conf").Parse(`# nginx of a lab's data network
user root;
daemon off;
worker_processes 1;
pid {{.Dir}}/nginx.pid;
error_log {{.Dir}}/nginx-error.log warn;
events { worker_connections 4096; }
http {
	access_log off;
	sendfile on;
	tcp_nopush on;
	tcp_nodelay on;
	keepalive_timeout 65s;
	keepalive_requests 1000000;
	default_type application/octet-stream;
	client_max_body_size 0;
	client_body_temp_path {{.Temp}}/body;
	proxy_temp_path {{.Temp}}/proxy;
	fastcgi_temp_path {{.Temp}}/fastcgi;
	uwsgi_temp_path {{.Temp}}/uwsgi;
	scgi_temp_path {{.Temp}}/scgi;
	server {
		listen 80 default_server reuseport backlog=4096;
{{- if .IPv6}}
		listen [::]:80 default_server reuseport ipv6only=on backlog=4096;
{{- end}}
		root {{.Root}};
		location = / { return 200 "data network of lab {{.Name}}\n"; }
		location /upload/ {
			dav_methods PUT DELETE;
			create_full_put_path on;
			dav_access user:rw group:r all:r;
		}
	}
}
`))

func (l *Lab) startNginx(ctx context.Context) error {
	data := filepath.Join(dataRoot, l.name)
	var conf bytes.Buffer
	_, noIPv6 := os.Stat("/proc/net/if_inet6")
	if err := nginxConf.Execute(&conf, map[string]any{
		"Name": l.name, "Dir": l.dir, "Root": filepath.Join(data, "www"), "Temp": filepath.Join(data, "nginx"), "IPv6": noIPv6 == nil,
	}); err != nil {
		return err
	}
	if err := os.WriteFile(l.path("nginx.conf"), conf.Bytes(), 0o644); err != nil {
		return err
	}
	argv := []string{"nginx", "-e", l.path("nginx-error.log"), "-p", l.dir, "-c", l.path("nginx.conf")}
	if err := l.start(procNginx, DN, argv); err != nil {
		return err
	}
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{
		DialContext:       l.dialIn(DN),
		DisableKeepAlives: true,
	}}
	err := l.await(ctx, procNginx, "answer of nginx", func() (string, error) {
		resp, err := client.Get("http://" + DNAddr.String() + "/")
		if err == nil {
			resp.Body.Close() // any answer will do
		}
		return reason(resp, err)
	})
	if err != nil {
		if b, rerr := os.ReadFile(l.path("nginx-error.log")); rerr == nil && len(b) > 0 {
			return fmt.Errorf("%w\nnginx's error log:\n%s", err, bytes.TrimSpace(b))
		}
	}
	return err
}

// reason makes an error that may pass into what is missing.
func reason(_ any, err error) (missing string, _ error) {
	if err != nil {
		return err.Error(), nil
	}
	return "", nil
}

// dialIn dials from the namespace of a role. Only for literal addresses: a name
// would be looked up outside.
func (l *Lab) dialIn(role string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (c net.Conn, err error) {
		if _, err := netip.ParseAddrPort(address); err != nil {
			return nil, err
		}
		err = l.InNamespace(role, func() error {
			var d net.Dialer
			c, err = d.DialContext(ctx, network, address)
			return err
		})
		return c, err
	}
}

// upfConfig is the free5GC configuration file of the lab's UPF.
type upfConfig struct {
	Version     string `yaml:"version"`
	Description string `yaml:"description"`
	PFCP        struct {
		Addr         string `yaml:"addr"`
		NodeID       string `yaml:"nodeID"`
		RetransTime  string `yaml:"retransTimeout"`
		MaxRetransms int    `yaml:"maxRetrans"`
	} `yaml:"pfcp"`
	GTPU struct {
		Forwarder string       `yaml:"forwarder"`
		IfList    []upfConfigN `yaml:"ifList"`
	} `yaml:"gtpu"`
	DNNList []upfConfigDNN `yaml:"dnnList"`
	Logger  struct {
		Enable       bool   `yaml:"enable"`
		Level        string `yaml:"level"`
		ReportCaller bool   `yaml:"reportCaller"`
	} `yaml:"logger"`
	Braid map[string]any `yaml:"braid,omitempty"`
}

type upfConfigN struct {
	Addr string `yaml:"addr"`
	Type string `yaml:"type"`
	MTU  int    `yaml:"mtu"`
}

type upfConfigDNN struct {
	DNN  string `yaml:"dnn"`
	CIDR string `yaml:"cidr"`
}

// atsssConfig is the section braid.atsss of the lab's UPF. Its PMF never rests: what the
// tests see is not to depend on traffic.
func (o *Options) atsssConfig() map[string]any {
	proxy, pmf, link := []string{ConverterAddr.String()}, []string{pmfAddr.String()}, []string{LinkSpecificPool.String()}
	if o.IPv6 {
		proxy, pmf, link = append(proxy, ConverterAddr6.String()), append(pmf, pmfAddr6.String()), append(link, LinkSpecificPool6.String())
	}
	return map[string]any{
		"converter":    map[string]any{"addrs": proxy},
		"linkSpecific": link,
		"pmf":          map[string]any{"addrs": pmf, "interval": "250ms", "idle": "0s"},
	}
}

func (l *Lab) upfConfig() *upfConfig {
	c := &upfConfig{Version: "1.0.3", Description: "lab " + l.name}
	c.PFCP.Addr, c.PFCP.NodeID = UPFN4Addr.String(), UPFN4Addr.String()
	c.PFCP.RetransTime, c.PFCP.MaxRetransms = "1s", 3
	c.GTPU.Forwarder = "gtp5g"
	c.GTPU.IfList = []upfConfigN{{UPFN3Addr.String(), "N3", ueMTU}}
	c.DNNList = []upfConfigDNN{{labDNN, UEPool.String()}}
	if l.opts.IPv6 {
		c.DNNList = append(c.DNNList, upfConfigDNN{labDNN, UEPool6.String()})
	}
	c.Logger.Enable, c.Logger.Level = true, "info"
	c.Braid = map[string]any{"atsss": l.opts.atsssConfig()}
	maps.Copy(c.Braid, l.opts.UPFConfig)
	if l.opts.Workers > 0 {
		c.Braid["workers"] = l.opts.Workers
	}
	return c
}

const labDNN = "internet"

func (l *Lab) startUPF(ctx context.Context) error {
	b, err := yaml.Marshal(l.upfConfig())
	if err != nil {
		return err
	}
	config := l.path("upfcfg.yaml")
	if err := os.WriteFile(config, b, 0o644); err != nil {
		return err
	}
	argv := []string{l.opts.UPFBin, "-c", config}
	if len(l.opts.UPFCommand) > 0 {
		argv = nil
		for _, arg := range l.opts.UPFCommand {
			argv = append(argv, strings.NewReplacer("{config}", config, "{dir}", l.dir).Replace(arg))
		}
	}
	if err := l.start(procUPF, UPF, argv); err != nil {
		return err
	}
	return l.await(ctx, procUPF, "start of the UPF", func() (string, error) {
		b, err := os.ReadFile(l.path(procUPF + ".log"))
		switch {
		case err != nil:
			return "", err
		case bytes.Contains(b, []byte("UPF started")), len(l.opts.UPFCommand) > 0 && l.boundIn(UPF, pfcp.Port):
			return "", nil
		}
		return `"UPF started" is not in its log`, nil
	})
}

// boundIn says whether a UDP socket of a role's namespace is bound to a port.
func (l *Lab) boundIn(role string, port int) bool {
	var table []byte
	err := l.InNamespace(role, func() (err error) {
		table, err = os.ReadFile("/proc/thread-self/net/udp")
		return err
	})
	return err == nil && bytes.Contains(table, fmt.Appendf(nil, ":%04X ", port))
}

// DefaultPolicy is one session with both accesses and both UE addresses: MPTCP,
// Active-Standby with 3GPP active.
func DefaultPolicy() smf.Policy {
	s := smf.Session{
		Name:     "lab",
		UE:       UEAddr[:],
		DNN:      labDNN,
		QFI:      labQFI,
		Steering: smf.Steering{Functionality: steer.MPTCP, Mode: steer.ActiveStandby},
	}
	for a, plan := range accessPlans {
		s.Accesses[a] = &smf.Access{Peer: plan.n3, TEID: plan.teid, Weight: 50, Priority: steer.Priority(a)}
	}
	return smf.Policy{
		UPF:       netip.AddrPortFrom(UPFN4Addr, pfcp.Port),
		Node:      SMFAddr,
		Heartbeat: smf.DefaultHeartbeat,
		Sessions:  []smf.Session{s},
	}
}

func (l *Lab) startSMF(ctx context.Context) error {
	policy := DefaultPolicy()
	policy.Sessions[0].UE = nil
	for a := range steer.Access(steer.NumAccesses) {
		policy.Sessions[0].UE = append(policy.Sessions[0].UE, l.opts.ueAddresses(a)...)
	}
	if l.opts.Policy != "" {
		p, err := smf.LoadPolicy(l.opts.Policy)
		if err != nil {
			return err
		}
		policy = *p
	}
	if err := policy.Save(l.path("policy.yaml")); err != nil || l.opts.NoSession {
		return err
	}
	argv := []string{l.opts.BraidBin, "smf", "-f", l.path("policy.yaml"), "--state", l.path("smf.json"), "--dump", l.path("n4.pcap")}
	if err := l.start(procSMF, SMF, argv); err != nil {
		return err
	}
	if err := l.awaitSessions(ctx, 1); err != nil {
		if tail := l.logTail(procUPF); tail != "" {
			return fmt.Errorf("%w\nend of the log of upf:\n%s", err, tail)
		}
		return err
	}
	return l.startUE(ctx, &policy)
}

// awaitSessions waits until the smf has applied policy load number generation and
// every session and the accesses' tunnels stand.
func (l *Lab) awaitSessions(ctx context.Context, generation int) error {
	return l.await(ctx, procSMF, "sessions", func() (string, error) {
		st, err := smf.ReadState(l.path("smf.json"))
		if errors.Is(err, fs.ErrNotExist) {
			return "the smf has no state yet", nil
		}
		if err != nil {
			return "", err
		}
		if what, err := missing(&st, generation); what != "" || err != nil {
			return what, err
		}
		return l.missingTunnel(&st)
	})
}

// missingTunnel names an access process that does not use the session's tunnel yet.
func (l *Lab) missingTunnel(st *smf.State) (string, error) {
	for a := range steer.Access(steer.NumAccesses) {
		want, err := tunnelOf(st, a.String())
		if err != nil {
			return "", err
		}
		stats, err := l.AccessStats(a)
		if err != nil {
			return "", err
		}
		if want != nil && (stats.Tunnel == nil || *stats.Tunnel != *want) {
			return "access " + a.String() + " does not use its tunnel yet", nil
		}
	}
	return "", nil
}

// SetPolicy gives the smf a new policy and returns when the UPF has accepted it, the
// accesses use its tunnels and the UE knows of it. It waits 20 seconds at most for each.
func (l *Lab) SetPolicy(p smf.Policy) error {
	proc, err := l.process(procSMF)
	if err != nil {
		return fmt.Errorf("lab %s runs no smf: %w", l.name, err)
	}
	st, err := smf.ReadState(l.path("smf.json"))
	if err != nil {
		return fmt.Errorf("lab %s: %w", l.name, err)
	}
	if err := p.Save(l.path("policy.yaml")); err != nil {
		return fmt.Errorf("lab %s: %w", l.name, err)
	}
	if err := proc.signal(syscall.SIGHUP); err != nil {
		return fmt.Errorf("lab %s: %w", l.name, err)
	}
	if err := l.awaitSessions(context.Background(), st.Generation+1); err != nil {
		return fmt.Errorf("lab %s: %w", l.name, err)
	}
	if err := l.startUE(context.Background(), &p); err != nil {
		return fmt.Errorf("lab %s: UE: %w", l.name, err)
	}
	return nil
}

// Policy reads the policy that the smf was last given.
func (l *Lab) Policy() (*smf.Policy, error) { return smf.LoadPolicy(l.path("policy.yaml")) }
