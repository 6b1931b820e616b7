// Command upf is the user plane function: it takes free5GC's place with the same
// name, options and config file.
//
//	upf [-c FILE] [-l LOGFILE]...
//
// It ends with exit code 0 on SIGINT and SIGTERM, 2 if the config or the command
// line is broken, 1 if something else is. SIGUSR1 logs the counters.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"

	"github.com/braid-upf/braid/dataplane"
	"github.com/braid-upf/braid/dataplane/driver/sockets"
	"github.com/braid-upf/braid/gtpu"
	"github.com/braid-upf/braid/nat"
	"github.com/braid-upf/braid/upf"
)

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
)

func main() {
	os.Exit(run(os.Args[1:]))
}

// paths is an option that can be given more than once.
type paths []string

func (p *paths) String() string     { return fmt.Sprint([]string(*p)) }
func (p *paths) Set(s string) error { *p = append(*p, s); return nil }

func run(args []string) int {
	flags := flag.NewFlagSet("upf", flag.ContinueOnError)
	var config string
	var logs paths
	for _, name := range []string{"c", "config"} {
		flags.StringVar(&config, name, "./config/upfcfg.yaml", "config `FILE`")
	}
	for _, name := range []string{"l", "log"} {
		flags.Var(&logs, name, "also write the log to this `FILE`; can be repeated")
	}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return exitUsage
	case flags.NArg() > 0:
		fmt.Fprintf(os.Stderr, "upf: %q: options only\n", flags.Arg(0))
		return exitUsage
	}
	cfg, err := upf.LoadConfig(config)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitUsage
	}
	log, closeLogs, err := openLog(cfg.Logger, logs)
	if err != nil {
		fmt.Fprintln(os.Stderr, "upf:", err)
		return exitFailure
	}
	defer closeLogs()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, cfg, log); err != nil {
		log.Error(err.Error())
		if !cfg.Logger.Enable {
			fmt.Fprintln(os.Stderr, "upf:", err)
		}
		return exitFailure
	}
	return 0
}

// openLog is the logger that the config and the options ask for.
func openLog(cfg upf.LoggerConfig, files []string) (log *slog.Logger, closeAll func(), err error) {
	var opened []*os.File
	closeAll = func() {
		for _, f := range opened {
			_ = f.Close()
		}
	}
	if !cfg.Enable {
		return slog.New(slog.DiscardHandler), closeAll, nil
	}
	writers := []io.Writer{os.Stderr}
	for _, name := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			closeAll()
			return nil, nil, fmt.Errorf("log: %w", err)
		}
		f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			closeAll()
			return nil, nil, fmt.Errorf("log: %w", err)
		}
		opened = append(opened, f)
		writers = append(writers, f)
	}
	return upf.NewLogger(io.MultiWriter(writers...), cfg.Level, cfg.ReportCaller), closeAll, nil
}

// serve is the UPF from start to end: it returns when ctx has ended, or with what
// has failed.
func serve(ctx context.Context, cfg *upf.Config, log *slog.Logger) (err error) {
	usr1 := make(chan os.Signal, 1)
	signal.Notify(usr1, syscall.SIGUSR1)
	defer signal.Stop(usr1)
	driver := driverConfig(cfg)
	makeRoom(driver.Workers)
	set, err := sockets.Open(driver)
	if err != nil {
		return fmt.Errorf("data plane: %w", err)
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	n6NAT, err := nat.Open(cfg.Braid.TUN, natRules(cfg, log))
	if err != nil {
		return fmt.Errorf("dnnList: %w", err)
	}
	defer func() { err = errors.Join(err, n6NAT.Close()) }()
	pc := dataplane.Config{
		Set: set, N3MTU: n3MTU(&cfg.GTPU), Grace: cfg.Braid.Grace, UEToUE: cfg.Braid.UEToUE, Held: cfg.Braid.BufferPackets,
		ConvertCookies: cfg.Braid.ATSSS.Cookies,
	}
	if p := cfg.Braid.ATSSS.PMF; p != nil {
		pc.PMFInterval, pc.PMFIdle = p.Interval, p.Idle
		if p.Idle == 0 {
			pc.PMFIdle = -1 // never
		}
	}
	plane, err := dataplane.New(pc)
	if err != nil {
		return fmt.Errorf("data plane: %w", err)
	}
	planeCtx, stopPlane := context.WithCancel(context.Background())
	planeDone := make(chan error, 1)
	go func() { planeDone <- plane.Run(planeCtx) }()
	running := true
	defer func() {
		stopPlane()
		if running {
			err = errors.Join(err, <-planeDone)
		}
	}()

	server, err := upf.Listen(cfg, plane, log.With(upf.CategoryKey, "PFCP"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()

	log.Info("UPF started", "pfcp", server.LocalAddr(), "nodeID", cfg.PFCP.NodeID, "gtpu", set.N3Addrs(), "workers", plane.Workers())
	for {
		select {
		case <-ctx.Done():
			log.Info("UPF ends")
			drain(cfg, server, log)
			return nil
		case err := <-planeDone:
			running = false
			return fmt.Errorf("data plane: %w", err)
		case <-usr1:
			logCounters(log, server, plane)
		}
	}
}

// drain takes the UPF out of service, if the config gives the CP functions time for that.
func drain(cfg *upf.Config, server *upf.Server, log *slog.Logger) {
	if cfg.Braid.Drain == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), cfg.Braid.Drain)
	defer cancel()
	if err := server.Drain(ctx); err != nil {
		log.Info("not every CP function has released its association", "err", err)
	}
}

// makeRoom lets Go run as many goroutines at once as there are workers, and the control
// side beside them: a worker that waits for packets keeps its place until the runtime
// takes it away, which can take milliseconds, and one that is busy does not yield. How
// the cores are shared is then the kernel's to say.
func makeRoom(workers int) {
	const control = 2
	if n := workers + control; n > runtime.GOMAXPROCS(0) {
		runtime.GOMAXPROCS(n)
	}
}

// driverConfig is what the sockets driver needs of the config.
func driverConfig(cfg *upf.Config) sockets.Config {
	c := sockets.Config{
		Workers: cfg.Braid.Workers,
		N3:      cfg.GTPU.Addrs("N3", "N9"),
		TUN:     cfg.Braid.TUN,
		MTU:     cfg.GTPU.MTU(),
	}
	if c.Workers == 0 {
		c.Workers = min(runtime.GOMAXPROCS(0), upf.MaxWorkers)
	}
	for _, d := range cfg.DNNs {
		if !slices.Contains(c.Routes, d.CIDR) {
			c.Routes = append(c.Routes, d.CIDR)
		}
	}
	return c
}

// natRules are the DNNs' ranges that leave by an interface with its address.
func natRules(cfg *upf.Config, log *slog.Logger) []nat.Rule {
	var rules []nat.Rule
	for _, d := range cfg.DNNs {
		switch r := (nat.Rule{Source: d.CIDR, Interface: d.NATIfName}); {
		case d.NATIfName == "" || slices.Contains(rules, r):
		case d.CIDR.Addr().Is4():
			rules = append(rules, r)
		default:
			log.Warn("NAT is not done for IPv6: its packets keep their addresses", "dnn", d.Name, "cidr", d.CIDR, "natifname", d.NATIfName)
		}
	}
	return rules
}

// n3MTU is the MTU of N3 behind the MTU of the UE's packets that the config gives:
// with the outer headers on top; 0 if it gives none.
func n3MTU(cfg *upf.GTPUConfig) int {
	const udp, ipv4, ipv6 = 8, 20, 40
	ue := cfg.MTU()
	if ue == 0 {
		return 0
	}
	ip := ipv4
	for _, a := range cfg.Addrs("N3", "N9") {
		if a.Is6() {
			ip = ipv6
		}
	}
	return ue + ip + udp + gtpu.GPDUContainerLen
}

func logCounters(log *slog.Logger, server *upf.Server, plane *dataplane.Plane) {
	for node, n := range server.Sessions() {
		log.Info("sessions", "node", node, "count", n)
	}
	counters := plane.Counters()
	sessions := counters["sessions"]
	maps.Copy(counters, server.ReportCounters())
	maps.DeleteFunc(counters, func(_ string, v uint64) bool { return v == 0 })
	log.Info("counters that are not zero follow", "sessions", sessions, "lines", len(counters))
	for _, name := range slices.Sorted(maps.Keys(counters)) {
		log.Info("counter", "name", name, "value", counters[name])
	}
}
