package lab

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/smf"
)

// Link sets the impairment of an access, of one direction or both, in place of the
// one before: what im does not name is off.
func (l *Lab) Link(a steer.Access, im Impairment) error {
	var req request
	if im.Direction != DirectionDown {
		req.Up = &im
	}
	if im.Direction != DirectionUp {
		req.Down = &im
	}
	if err := im.Validate(); err != nil {
		return fmt.Errorf("access %v: %w", a, err)
	}
	if _, err := ask(l.controlSocket(a), req); err != nil {
		return fmt.Errorf("access %v: %w", a, err)
	}
	return nil
}

// SetTunnel names the UPF's end of an access's uplink, for a lab whose session
// comes from another SMF than ours.
func (l *Lab) SetTunnel(a steer.Access, t Tunnel) error {
	if _, err := ask(l.controlSocket(a), request{Tunnel: &t}); err != nil {
		return fmt.Errorf("access %v: %w", a, err)
	}
	return nil
}

// AccessStats reads the counters of an access.
func (l *Lab) AccessStats(a steer.Access) (Stats, error) {
	s, err := ask(l.controlSocket(a), request{})
	if err != nil {
		return s, fmt.Errorf("access %v: %w", a, err)
	}
	return s, nil
}

// MIB reads the protocol counters of a role's namespace: /proc/net/netstat and
// /proc/net/snmp, group and name joined, as "MPTcpExtMPCapableSYNTX" or
// "TcpRetransSegs".
func (l *Lab) MIB(role string) (map[string]uint64, error) {
	mib := make(map[string]uint64)
	err := l.InNamespace(role, func() error {
		for _, file := range []string{"/proc/thread-self/net/netstat", "/proc/thread-self/net/snmp"} {
			b, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			if err := parseMIB(string(b), mib); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("counters of %s: %w", l.Namespace(role), err)
	}
	return mib, nil
}

// parseMIB reads pairs of lines, "Group: name name" and "Group: value value". A
// negative value (Tcp MaxConn, no limit) is left out.
func parseMIB(text string, mib map[string]uint64) error {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines)%2 != 0 {
		return fmt.Errorf("%d lines do not make pairs", len(lines))
	}
	for i := 0; i < len(lines); i += 2 {
		names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		if len(names) == 0 || len(names) != len(values) || names[0] != values[0] {
			return fmt.Errorf("lines %d and %d do not match", i+1, i+2)
		}
		group := strings.TrimSuffix(names[0], ":")
		for j := 1; j < len(names); j++ {
			if strings.HasPrefix(values[j], "-") {
				continue
			}
			v, err := strconv.ParseUint(values[j], 10, 64)
			if err != nil {
				return fmt.Errorf("%s %s: %w", group, names[j], err)
			}
			mib[group+names[j]] = v
		}
	}
	return nil
}

// UPFCounters has the UPF log its counters that are not zero, and reads them. It is
// for our UPF, not for another one that [Options.UPFCommand] runs.
func (l *Lab) UPFCounters(ctx context.Context) (map[string]uint64, error) {
	p, err := l.process(procUPF)
	if err != nil {
		return nil, fmt.Errorf("counters of the UPF: %w", err)
	}
	log := l.path(procUPF + ".log")
	before, err := os.Stat(log)
	if err != nil {
		return nil, fmt.Errorf("counters of the UPF: %w", err)
	}
	if err := p.signal(unix.SIGUSR1); err != nil {
		return nil, fmt.Errorf("counters of the UPF: %w", err)
	}
	var counters map[string]uint64
	err = l.await(ctx, procUPF, "counters of the UPF", func() (missing string, err error) {
		b, err := os.ReadFile(log)
		if err != nil {
			return "", err
		}
		complete := false
		if counters, complete = ParseUPFCounters(string(b[before.Size():])); !complete {
			return "they are not all in its log", nil
		}
		return "", nil
	})
	return counters, err
}

// ParseUPFCounters reads the lines that `upf` logs when it gets SIGUSR1.
func ParseUPFCounters(log string) (counters map[string]uint64, complete bool) {
	lines := -1
	counters = make(map[string]uint64)
	for line := range strings.Lines(log) {
		var name string
		var v uint64
		if _, tail, ok := strings.Cut(line, "counters that are not zero follow sessions="); ok {
			if _, err := fmt.Sscanf(tail, "%d lines=%d", &v, &lines); err != nil {
				return nil, false
			}
		} else if _, tail, ok := strings.Cut(line, " counter name="); ok {
			if _, err := fmt.Sscanf(tail, "%s value=%d", &name, &v); err != nil {
				return nil, false
			}
			counters[name] = v
		}
	}
	return counters, len(counters) == lines
}

// SMFState reads what the smf knows of association and sessions; its error is
// fs.ErrNotExist if the lab runs none.
func (l *Lab) SMFState() (smf.State, error) { return smf.ReadState(l.path("smf.json")) }

// PID is the process ID of one of the lab's processes: "upf", "smf", "nginx",
// "access-3gpp", "access-non-3gpp".
func (l *Lab) PID(name string) (int, error) {
	p, err := l.process(name)
	if err != nil {
		return 0, fmt.Errorf("lab %s: process %s: %w", l.name, name, err)
	}
	if !p.alive() {
		return 0, fmt.Errorf("lab %s: process %s: %w", l.name, name, os.ErrProcessDone)
	}
	return p.PID, nil
}
