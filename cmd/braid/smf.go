package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/braid-upf/braid/smf"
)

type smfCmd struct {
	File  string `short:"f" required:"" placeholder:"POLICY.yaml" help:"The UPF and the sessions to install. Read again on SIGHUP."`
	Peer  string `placeholder:"ADDR" help:"N4 address of the UPF, instead of the policy's."`
	Dump  string `placeholder:"FILE.pcap" help:"Write the N4 exchange here."`
	State string `placeholder:"FILE.json" help:"Keep association, SEIDs, tunnels and refusals here."`
}

// Help is shown by braid smf --help.
func (c *smfCmd) Help() string {
	return "Runs until SIGINT or SIGTERM, then deletes the sessions and releases the association. " +
		"A policy that is not valid ends it with exit code 2 at the start, and is logged and passed over on SIGHUP."
}

// configError is an error of the operator's input: exit code 2.
type configError struct{ error }

func (configError) ExitCode() int { return 2 }

func (c *smfCmd) Run(ctx context.Context) (err error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("component", "smf")
	policy, err := smf.LoadPolicy(c.File)
	if err != nil {
		return configError{err}
	}
	cfg := smf.Config{Policy: policy, StateFile: c.State, Log: log}
	if c.Peer != "" {
		if cfg.Peer, err = smf.ParsePeer(c.Peer); err != nil {
			return configError{fmt.Errorf("--peer: %w", err)}
		}
	}
	if c.Dump != "" {
		f, err := os.Create(c.Dump)
		if err != nil {
			return fmt.Errorf("--dump: %w", err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		cfg.Dump = f
	}
	s, err := smf.New(cfg)
	if err != nil {
		return err
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	go c.reload(ctx, s, hup)
	return s.Run(ctx)
}

// reload hands the policy file to s after each SIGHUP.
func (c *smfCmd) reload(ctx context.Context, s *smf.SMF, hup <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			policy, err := smf.LoadPolicy(c.File)
			if err == nil {
				err = s.Apply(policy)
			}
			if err != nil {
				s.Refuse(err)
			}
		}
	}
}
