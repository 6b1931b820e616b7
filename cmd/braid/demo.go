package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/demo"
	"github.com/braid-upf/braid/internal/lab"
)

type demoCmd struct {
	Size         int64         `help:"Payload of each transfer in MB (10^6 bytes)." default:"200"`
	Rate3GPP     float64       `help:"Rate of the 3GPP access in Mbit/s, each way." name:"rate-3gpp" default:"100"`
	RateNon3GPP  float64       `help:"Rate of the non-3GPP access in Mbit/s, each way." name:"rate-non-3gpp" default:"80"`
	Delay3GPP    time.Duration `help:"One-way delay of the 3GPP access." name:"delay-3gpp" default:"10ms"`
	DelayNon3GPP time.Duration `help:"One-way delay of the non-3GPP access." name:"delay-non-3gpp" default:"15ms"`
	Outage       time.Duration `help:"How long the access in use is dead." default:"4s"`
	Out          string        `help:"Where to write the plot, an SVG file." default:"out/demo.svg" type:"path"`
	Name         string        `help:"Name of the demo's lab; one that is up under this name is removed." default:"demo"`
	UPF          string        `help:"The UPF to run; by default upf beside this command." name:"upf" type:"path"`
	Workers      int           `help:"Workers of the UPF; 0 is its default." default:"0"`
}

func (c *demoCmd) Help() string {
	return `Builds a lab, downloads a file over Linux MPTCP from a plain TCP server and uploads it
again, while the access in use dies half-way and comes back. Ends with "demo: PASS" (exit
code 0) or "demo: FAIL: why" (1). Needs root.`
}

func (c *demoCmd) Run(ctx context.Context) error {
	cfg := demo.Config{
		Lab:  lab.Options{Name: c.Name, UPFBin: c.UPF, Workers: c.Workers, DieWithParent: true, Progress: os.Stdout},
		Size: c.Size * 1_000_000,
		Link: [steer.NumAccesses]lab.Impairment{
			steer.Access3GPP:    {Rate: uint64(c.Rate3GPP * 1e6), Delay: c.Delay3GPP},
			steer.AccessNon3GPP: {Rate: uint64(c.RateNon3GPP * 1e6), Delay: c.DelayNon3GPP},
		},
		Outage: c.Outage,
		Plot:   c.Out,
		Out:    os.Stdout,
		TTY:    isTerminal(os.Stdout),
	}
	if err := cfg.Validate(); err != nil {
		return err
	}
	err := demo.Run(ctx, cfg)
	if err == nil {
		fmt.Println("demo: PASS")
		return nil
	}
	why, details, _ := strings.Cut(err.Error(), "\n")
	if errors.Is(err, context.Canceled) {
		why = "interrupted"
	}
	if details != "" {
		fmt.Println(details) // such as the end of a log
	}
	fmt.Println("demo: FAIL: " + why)
	os.Exit(1)
	return nil
}

type figure10Cmd struct {
	Connections int           `help:"How many connections download at once." default:"64"`
	Rate        float64       `help:"Rate of each path in Mbit/s, each way." default:"100"`
	Delay       time.Duration `help:"One-way delay of each path." default:"5ms"`
	Slow        time.Duration `help:"By how much the second path becomes slower, one way." default:"100ms"`
	Phase       time.Duration `help:"How long each of the three phases is." default:"10s"`
	Out         string        `help:"Where to write the plot, an SVG file." default:"out/figure10.svg" type:"path"`
	Name        string        `help:"Name of the lab; one that is up under this name is removed." default:"figure10"`
	UPF         string        `help:"The UPF to run; by default upf beside this command." name:"upf" type:"path"`
	Workers     int           `help:"Workers of the UPF; 0 is its default." default:"0"`
}

func (c *figure10Cmd) Help() string {
	return `Draws Figure 10 of the FlexCP paper anew: connections download on one path, a second path
appears and the load spreads, the second path becomes slow and all go back. Fails if the
paths do not carry what that says. Needs root.`
}

func (c *figure10Cmd) Run(ctx context.Context) (err error) {
	l, err := lab.Up(ctx, lab.Options{Name: c.Name, UPFBin: c.UPF, Workers: c.Workers, DieWithParent: true, Progress: os.Stdout})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Down()) }()
	figure := demo.DefaultFigure10
	figure.Connections, figure.Rate, figure.Delay = c.Connections, uint64(c.Rate*1e6), c.Delay
	figure.Slow, figure.Phase, figure.Out = c.Slow, c.Phase, os.Stdout
	run, err := figure.Run(ctx, l)
	if err != nil {
		return err
	}
	if err := run.Chart().WriteFile(c.Out); err != nil {
		return err
	}
	run.Report(os.Stdout)
	fmt.Printf("throughput over time: %s\n", c.Out)
	return run.Check()
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
