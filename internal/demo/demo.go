// Package demo is the main job on real input, with a verdict: a lab whose UE
// downloads a file over kernel MPTCP from a plain TCP server and uploads it again,
// while the access in use dies half-way and comes back.
//
// What must hold for a PASS: the payload has the same SHA-256 at both ends; the
// connection is MPTCP with a subflow on each access and stays so; during the
// outage the other access carries on within [MaxSwitch]; after it, the access
// that was dead is used again; every connection ends; and no MIB counter that
// tells of a wrong translation moved in the UE or the server.
package demo

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/internal/mptcpclient"
)

// MinSize is the smallest payload in bytes: with less, the transfer can be over
// before the access is back.
const MinSize = 1_000_000

// MinOutage is the shortest outage in which a switch can be told from a delay.
const MinOutage = time.Second

// MaxSwitch is how long the receiver may get nothing new after the access in use
// has died.
const MaxSwitch = 3 * time.Second

// Config says what to run.
type Config struct {
	Lab    lab.Options
	Size   int64                             // payload of each transfer in bytes, at least MinSize
	Link   [steer.NumAccesses]lab.Impairment // of each access while it lives
	Outage time.Duration                     // from the access's death to its return
	Plot   string                            // path of the SVG to write
	Out    io.Writer                         // progress and report
	TTY    bool                              // Out is a terminal: the progress line is rewritten in place
}

// ErrFailed is the error of a demo that ran to its end and saw something that
// must not be; what, is in the wrapping.
var ErrFailed = errors.New("demo failed")

// Validate says which value is out of its range.
func (c *Config) Validate() error {
	if c.Size < MinSize {
		return fmt.Errorf("size of %d bytes: must be at least %d", c.Size, MinSize)
	}
	if c.Outage < MinOutage {
		return fmt.Errorf("outage of %v: must be at least %v", c.Outage, MinOutage)
	}
	for a, im := range c.Link {
		if err := im.Validate(); err != nil {
			return fmt.Errorf("access %v: %w", steer.Access(a), err)
		}
	}
	return nil
}

// Run runs the demo of a valid configuration and writes progress and report. The
// lab is removed at the end, also when ctx ends early.
func Run(ctx context.Context, cfg Config) (err error) {
	fmt.Fprintln(cfg.Out, "lab: UE with kernel MPTCP, 3GPP and non-3GPP access in GTP-U, UPF, SMF, nginx")
	l, err := lab.Up(ctx, cfg.Lab)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Down()) }()
	d := &demo{cfg: &cfg, lab: l}
	if err := d.run(ctx); err != nil {
		return err
	}
	return d.report()
}

// demo is a run.
type demo struct {
	cfg  *Config
	lab  *lab.Lab
	sum  string // of the payload, hex SHA-256
	legs []*leg
}

func (d *demo) run(ctx context.Context) error {
	for a, im := range d.cfg.Link {
		if err := d.lab.Link(steer.Access(a), im); err != nil {
			return err
		}
	}
	payload := filepath.Join(d.lab.WWW(), "payload.bin")
	var err error
	if d.sum, err = writePayload(payload, d.cfg.Size); err != nil {
		return err
	}
	uploaded := filepath.Join(d.lab.WWW(), "upload", "payload.bin")
	url := "http://" + lab.DNAddr.String()
	client := mptcpclient.Client{In: d.in(lab.UE)}

	down := &leg{
		name: "download", direction: lab.DirectionDown,
		start: func(ctx context.Context) (*mptcpclient.Transfer, error) {
			return client.Get(ctx, url+"/payload.bin"), nil
		},
		arrivedAs: func(clientSum string) (string, error) { return clientSum, nil },
	}
	up := &leg{
		name: "upload", direction: lab.DirectionUp,
		start: func(ctx context.Context) (*mptcpclient.Transfer, error) {
			f, err := os.Open(payload)
			if err != nil {
				return nil, err
			}
			return client.Put(ctx, url+"/upload/payload.bin", f, d.cfg.Size), nil
		},
		arrivedAs: func(string) (string, error) { return sumFile(uploaded) },
	}
	for _, g := range []*leg{down, up} {
		d.legs = append(d.legs, g)
		if err := d.runLeg(ctx, g); err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
	}
	return nil
}

func (d *demo) in(role string) mptcpclient.Namespace {
	return func(fn func() error) error { return d.lab.InNamespace(role, fn) }
}

// writePayload fills a file with random bytes and gives their SHA-256.
func writePayload(path string, size int64) (string, error) {
	var seed [32]byte
	rand.Read(seed[:]) // never fails
	f, err := os.Create(path)
	if err != nil {
		return "", fmt.Errorf("payload: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	src := io.LimitReader(mathrand.NewChaCha8(seed), size)
	if _, err := io.CopyBuffer(io.MultiWriter(f, h), src, make([]byte, 1<<20)); err != nil {
		return "", fmt.Errorf("payload: %w", err)
	}
	if err := f.Close(); err != nil {
		return "", fmt.Errorf("payload: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func sumFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("what arrived: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("what arrived: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
