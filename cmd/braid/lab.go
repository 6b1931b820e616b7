package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/braid-upf/braid/internal/lab"
)

type labCmd struct {
	Name string `default:"braid" env:"BRAID_LAB" help:"Name of the lab; several can be up at once."`

	Up     labUpCmd     `cmd:"" help:"Build the lab and start everything in it. A lab of that name is removed first."`
	Down   labDownCmd   `cmd:"" help:"Remove the lab, or what is left of it."`
	Exec   labExecCmd   `cmd:"" help:"Run a command in a namespace of the lab: ue, gnb, n3iwf, upf, smf or dn."`
	Link   labLinkCmd   `cmd:"" help:"Show or change what an access does to packets."`
	Status labStatusCmd `cmd:"" help:"Show namespaces, processes, accesses and sessions."`
	PMF    labPMFCmd    `cmd:"" name:"pmf" help:"Have the UE's PMF report an access, or tell how the uplink is split."`
	Access labAccessCmd `cmd:"" hidden:"" help:"Be one access (started by up)."`
	UE     labUECmd     `cmd:"" name:"ue" hidden:"" help:"Be the UE's part of ATSSS (started by up)."`
}

type labUpCmd struct {
	UPF       string `name:"upf" placeholder:"FILE" help:"The upf command; the one beside braid otherwise."`
	UPFCmd    string `name:"upf-cmd" placeholder:"CMD" help:"Command line to run in the UPF's place, split at blanks; {config} is its upfcfg.yaml, {dir} the lab's state directory."`
	NoSession bool   `help:"Start no SMF: another one is to install the session."`
	Policy    string `placeholder:"FILE.yaml" help:"Policy of the SMF; one MPTCP session, Active-Standby, otherwise."`
	Workers   int    `help:"Workers of the UPF; 0 is its default."`
	IPv6      bool   `name:"ipv6" help:"IPv6 beside IPv4 for UE and data network."`
}

func (c *labUpCmd) Run(ctx context.Context, p *labCmd) error {
	l, err := lab.Up(ctx, lab.Options{
		Name:       p.Name,
		UPFBin:     c.UPF,
		UPFCommand: strings.Fields(c.UPFCmd),
		NoSession:  c.NoSession,
		Policy:     c.Policy,
		Workers:    c.Workers,
		IPv6:       c.IPv6,
		Progress:   os.Stderr,
	})
	if err != nil {
		return err
	}
	return l.PrintStatus(os.Stdout)
}

type labDownCmd struct {
	All bool `help:"Every lab of this machine."`
}

func (c *labDownCmd) Run(p *labCmd) error {
	if !c.All {
		return lab.Remove(p.Name)
	}
	names, err := lab.Names()
	errs := []error{err}
	for _, name := range names {
		errs = append(errs, lab.Remove(name))
	}
	return errors.Join(errs...)
}

type labExecCmd struct {
	NS      string   `arg:"" name:"ns" enum:"ue,gnb,n3iwf,upf,smf,dn" help:"Whose namespace."`
	Command []string `arg:"" passthrough:"partial" help:"Command line, after --."`
}

// Run becomes the command, so that terminal, signals and exit code are its own.
func (c *labExecCmd) Run(ctx context.Context, p *labCmd) error {
	l, err := lab.Open(p.Name)
	if err != nil {
		return err
	}
	argv := c.Command
	if argv[0] == "--" {
		argv = argv[1:]
	}
	if len(argv) == 0 {
		return errors.New("no command after --")
	}
	cmd := l.Command(ctx, c.NS, argv...)
	if cmd.Err != nil {
		return cmd.Err
	}
	if _, err := exec.LookPath(argv[0]); err != nil {
		return err
	}
	return fmt.Errorf("run %s: %w", cmd.Path, syscall.Exec(cmd.Path, cmd.Args, os.Environ()))
}

type labLinkCmd struct {
	Access    string         `arg:"" enum:"3gpp,non-3gpp" help:"3gpp or non-3gpp."`
	Direction string         `default:"both" enum:"both,up,down" help:"both, up (from the UE) or down."`
	Delay     *time.Duration `help:"One-way delay, such as 20ms."`
	Jitter    *time.Duration `help:"Spread of the delay to either side; keeps the order."`
	Loss      *share         `help:"Share of packets lost, such as 2% or 0.02."`
	Rate      *bitRate       `help:"Limit in bit/s, such as 50mbit; 0 is none."`
	Reorder   *share         `help:"Share of packets held back."`
	Duplicate *share         `help:"Share of packets sent twice."`
	Mark      *share         `help:"Share of ECN-capable packets marked CE."`
	Strip     *bool          `help:"Take MPTCP options from all but SYNs; --strip=false ends it."`
	Down      bool           `xor:"updown" help:"Swallow every packet."`
	Up        bool           `xor:"updown" help:"Carry packets again."`
	Clear     bool           `help:"Take every impairment away first."`

	TEID uint32     `name:"teid" help:"Uplink TEID, where another SMF than the lab's has the session."`
	Peer netip.Addr `help:"N3 address that goes with --teid; the lab UPF's otherwise."`
}

func (c *labLinkCmd) Run(p *labCmd) error {
	l, err := lab.Open(p.Name)
	if err != nil {
		return err
	}
	a, err := lab.ParseAccess(c.Access)
	if err != nil {
		return err
	}
	if c.TEID != 0 {
		peer := c.Peer
		if !peer.IsValid() {
			peer = lab.UPFN3Addr
		}
		if err := l.SetTunnel(a, lab.Tunnel{TEID: c.TEID, Peer: peer}); err != nil {
			return err
		}
	}
	only, err := lab.ParseDirection(c.Direction)
	if err != nil {
		return err
	}
	stats, err := l.AccessStats(a)
	if err != nil {
		return err
	}
	for _, d := range []lab.Direction{lab.DirectionUp, lab.DirectionDown} {
		im := stats.Of(d).Impairment
		if only == lab.DirectionBoth || only == d {
			c.change(&im)
			im.Direction = d
			if err := l.Link(a, im); err != nil {
				return err
			}
		}
		fmt.Printf("%v %v: %v\n", a, d, im)
	}
	return nil
}

// change puts what the command line names into im.
func (c *labLinkCmd) change(im *lab.Impairment) {
	if c.Clear {
		*im = lab.Impairment{}
	}
	if c.Delay != nil {
		im.Delay = *c.Delay
	}
	if c.Jitter != nil {
		im.Jitter = *c.Jitter
	}
	if c.Loss != nil {
		im.Loss = float64(*c.Loss)
	}
	if c.Reorder != nil {
		im.Reorder = float64(*c.Reorder)
	}
	if c.Duplicate != nil {
		im.Duplicate = float64(*c.Duplicate)
	}
	if c.Mark != nil {
		im.Mark = float64(*c.Mark)
	}
	if c.Strip != nil {
		im.Strip = *c.Strip
	}
	if c.Rate != nil {
		im.Rate = uint64(*c.Rate)
	}
	if c.Down || c.Up {
		im.Down = c.Down
	}
}

// share is a part of all packets, written as 2% or 0.02.
type share float64

func (s *share) UnmarshalText(text []byte) error {
	number, percent := strings.CutSuffix(string(text), "%")
	v, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return fmt.Errorf("%q: must be a share such as 2%% or 0.02", text)
	}
	if percent {
		v /= 100
	}
	*s = share(v)
	return nil
}

// bitRate is in bit/s, written as 800000, 800kbit, 50mbit or 1gbit.
type bitRate uint64

func (r *bitRate) UnmarshalText(text []byte) error {
	number, unit := strings.TrimSuffix(string(text), "bit"), 1.0
	for _, u := range []struct {
		suffix string
		unit   float64
	}{{"k", 1e3}, {"m", 1e6}, {"g", 1e9}} {
		if n, ok := strings.CutSuffix(number, u.suffix); ok {
			number, unit = n, u.unit
			break
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || !(v >= 0 && v*unit < 1e12) {
		return fmt.Errorf("%q: must be a rate below 1000gbit such as 800kbit, 50mbit or 1gbit", text)
	}
	*r = bitRate(v * unit)
	return nil
}

type labStatusCmd struct{}

func (c *labStatusCmd) Run(p *labCmd) error {
	l, err := lab.Open(p.Name)
	if err != nil {
		return err
	}
	return l.PrintStatus(os.Stdout)
}

type labAccessCmd struct {
	Config string `arg:"" help:"Configuration file, written by up."`
}

func (c *labAccessCmd) Run(ctx context.Context) error { return lab.RunAccess(ctx, c.Config) }

type labUECmd struct{}

func (c *labUECmd) Run(ctx context.Context, p *labCmd) error { return lab.RunUE(ctx, p.Name) }

type labPMFCmd struct {
	Access string `arg:"" optional:"" default:"" enum:"3gpp,non-3gpp," help:"3gpp or non-3gpp: the access that --up or --down is of."`
	Up     bool   `xor:"updown" help:"Report that the access is available."`
	Down   bool   `xor:"updown" help:"Report that it is unavailable; what it carries stays as it is."`
	Assist *uint8 `placeholder:"PERCENT" help:"Tell the UPF how much of the uplink goes over 3gpp, in steps of 10 percent."`
}

func (c *labPMFCmd) Run(p *labCmd) error {
	if (c.Access != "") != (c.Up || c.Down) {
		return errors.New("an access goes with --up or --down")
	}
	if c.Access == "" && c.Assist == nil {
		return errors.New("nothing to tell: name an access with --up or --down, or --assist")
	}
	l, err := lab.Open(p.Name)
	if err != nil {
		return err
	}
	if c.Access != "" {
		a, err := lab.ParseAccess(c.Access)
		if err != nil {
			return err
		}
		if err := l.ReportAccess(a, c.Up); err != nil {
			return err
		}
	}
	if c.Assist != nil {
		return l.Assist(*c.Assist)
	}
	return nil
}
