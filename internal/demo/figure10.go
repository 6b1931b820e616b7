package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/internal/plot"
	"github.com/braid-upf/braid/smf"
)

// Figure10 says how Figure 10 of FlexCP is drawn anew (§5.4 of the paper): many connections
// that download a file over and over on one path, while a second path appears and then
// becomes slow. The steering mode is Load-Balancing, autonomous.
type Figure10 struct {
	Connections int
	Size        int64         // of the file in bytes
	Rate        uint64        // of each path in bit/s of IP packets, each way
	Delay       time.Duration // of each path, one way
	Slow        time.Duration // more delay of the second path in the third phase, one way
	Phase       time.Duration // how long each of the three phases is at least
	Patience    time.Duration // how much longer, until what it shows is to be seen
	Out         io.Writer     // progress
}

// DefaultFigure10 is what two cores carry beside both ends of the connections.
var DefaultFigure10 = Figure10{
	Connections: 64, Size: 1_000_000, Rate: 100_000_000, Delay: 5 * time.Millisecond,
	Slow: 100 * time.Millisecond, Phase: 10 * time.Second, Patience: 30 * time.Second,
}

// Figure10Run is what was seen.
type Figure10Run struct {
	cfg    Figure10
	load   load
	begun  [3]time.Time // of the phases
	ended  time.Time
	Phases [3]Rates // of the end of each phase, when what it begins with has passed
	Files  int      // downloaded whole and right
}

// Rates is what the paths carried to the UE, in Mbit/s of IP packets, by access.
type Rates [steer.NumAccesses]float64

// Total is what both carried.
func (r Rates) Total() float64 { return r[steer.Access3GPP] + r[steer.AccessNon3GPP] }

// Second is the share of the second path.
func (r Rates) Second() float64 { return r[steer.AccessNon3GPP] / r.Total() }

// Bounds of what Figure 10 shows.
const (
	// MinGain is how much more two paths must carry than one.
	MinGain = 1.5
	// MaxSlowShare is the most that may be left on the slow path in the end.
	MaxSlowShare = 0.05
	// evenShare is the least share of each path in the second phase.
	evenShare = 1.0 / 3
	// phaseEnd is the time at the end of a phase by which it is judged.
	phaseEnd = 3 * time.Second
)

// Run draws the figure in a lab that is up, and leaves its policy and accesses as they are
// then. Its error says what went wrong; [Figure10Run.Check] judges what was seen.
func (c Figure10) Run(ctx context.Context, l *lab.Lab) (*Figure10Run, error) {
	r := &Figure10Run{cfg: c}
	body, err := c.file(l)
	if err != nil {
		return nil, err
	}
	policy, err := c.policy(l)
	if err != nil {
		return nil, err
	}
	for a := range steer.Access(steer.NumAccesses) {
		if err := l.Link(a, lab.Impairment{Rate: c.Rate, Delay: c.Delay}); err != nil {
			return nil, err
		}
	}
	if err := l.PathManager("endpoint", "flush"); err != nil {
		return nil, err
	}
	if err := l.SetPolicy(onlyFirst(policy)); err != nil {
		return nil, err
	}
	clients := c.start(ctx, l, body)
	for phase, begin := range []func() error{
		clients.connected,
		func() error { // the network has a second path, then the UE
			if err := l.SetPolicy(*policy); err != nil {
				return err
			}
			return l.ResetPathManager()
		},
		func() error {
			return l.Link(steer.AccessNon3GPP, lab.Impairment{Rate: c.Rate, Delay: c.Delay + c.Slow})
		},
	} {
		r.begun[phase] = time.Now()
		if err := begin(); err != nil {
			return nil, errors.Join(err, clients.end())
		}
		if phase == 0 {
			r.begun[phase] = time.Now() // the connections stand
		}
		fmt.Fprintf(c.Out, "%s\n", phaseNames[phase])
		if err := r.watch(ctx, l, phase); err != nil {
			return nil, errors.Join(err, clients.end())
		}
	}
	r.ended = time.Now()
	err = clients.end()
	r.Files = clients.files
	return r, err
}

var phaseNames = [3]string{"one path", "a second path", "the second path is slow"}

// file puts the file where nginx serves it.
func (c Figure10) file(l *lab.Lab) ([]byte, error) {
	path := filepath.Join(l.WWW(), "figure10.bin")
	if _, err := writePayload(path, c.Size); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// policy is the lab's with the mode.
func (c Figure10) policy(l *lab.Lab) (*smf.Policy, error) {
	p, err := l.Policy()
	if err != nil {
		return nil, err
	}
	s := &p.Sessions[0]
	s.ATSSS = smf.ATSSS{MPTCP: true, ATSSSLL: true, PMF: &smf.PMF{}}
	s.Steering = smf.Steering{Functionality: steer.MPTCP, Mode: steer.LoadBalancing, Indicator: steer.Autonomous}
	for _, a := range s.Accesses {
		if a == nil {
			return nil, errors.New("the lab's policy has a session on one access")
		}
		a.Weight = 50
	}
	return p, nil
}

// onlyFirst is p before the second path is there.
func onlyFirst(p *smf.Policy) smf.Policy {
	one := p.Clone()
	s := &one.Sessions[0]
	s.Accesses[steer.AccessNon3GPP] = nil
	s.Accesses[steer.Access3GPP].Weight = 100
	return *one
}

// watch looks at the accesses' counters while a phase lasts.
func (r *Figure10Run) watch(ctx context.Context, l *lab.Lab, phase int) error {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	least := r.begun[phase].Add(r.cfg.Phase)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if err := r.load.look(l); err != nil {
			return err
		}
		r.Phases[phase] = r.load.rates(lab.DirectionDown, min(phaseEnd, r.cfg.Phase))
		if now := time.Now(); now.After(least.Add(r.cfg.Patience)) || now.After(least) && r.checkPhase(phase) == nil {
			return nil
		}
	}
}

// Check says what is not as in Figure 10.
func (r *Figure10Run) Check() error {
	var errs []error
	for phase := range r.Phases {
		errs = append(errs, r.checkPhase(phase))
	}
	if r.Files == 0 {
		errs = append(errs, errors.New("no file came whole"))
	}
	return errors.Join(errs...)
}

// checkPhase says what is not as it should be at the end of a phase.
func (r *Figure10Run) checkPhase(phase int) error {
	one, now := r.Phases[0], r.Phases[phase]
	second := now.Second()
	switch {
	case phase == 0 && (now.Total() == 0 || second > 0.01):
		return fmt.Errorf("with one path: %.1f and %.1f Mbit/s", now[0], now[1])
	case phase == 1 && now.Total() < MinGain*one.Total():
		return fmt.Errorf("two paths carry %.1f Mbit/s, one carried %.1f: want %.1f times as much", now.Total(), one.Total(), MinGain)
	case phase == 1 && !(second >= evenShare && second <= 1-evenShare):
		return fmt.Errorf("of two paths the second carries %.0f%%: want %.0f%% to %.0f%%", 100*second, 100*evenShare, 100*(1-evenShare))
	case phase == 2 && !(second < MaxSlowShare):
		return fmt.Errorf("the slow path carries %.1f%%: want less than %.0f%%", 100*second, 100*MaxSlowShare)
	case phase == 2 && now.Total() < 0.8*one.Total():
		return fmt.Errorf("in the end %.1f Mbit/s are carried, with one path it was %.1f", now.Total(), one.Total())
	}
	return nil
}

// Report writes a line for each phase.
func (r *Figure10Run) Report(w io.Writer) {
	for phase, rates := range r.Phases {
		fmt.Fprintf(w, "%-24s %6.1f Mbit/s: first path %6.1f, second path %6.1f\n",
			phaseNames[phase]+":", rates.Total(), rates[steer.Access3GPP], rates[steer.AccessNon3GPP])
	}
	fmt.Fprintf(w, "%d files came whole\n", r.Files)
}

// Chart draws what was seen.
func (r *Figure10Run) Chart() *plot.Chart {
	c := &r.cfg
	p := plot.Panel{
		Title:  fmt.Sprintf("%d connections, files of %.0f MB", c.Connections, float64(c.Size)/1e6),
		XLabel: "time (s)", YLabel: "throughput (Mbit/s)",
	}
	var x [steer.NumAccesses][]float64
	var y [steer.NumAccesses][]float64
	for a := range x {
		x[a], y[a] = r.load.series(steer.Access(a), lab.DirectionDown, r.begun[0], plotSpan)
	}
	total := make([]float64, len(y[0]))
	for i := range total {
		total[i] = y[0][i] + y[1][i]
	}
	p.Series = []plot.Series{
		{Name: "both", Color: "#57606a", X: x[0], Y: total},
		{Name: "first path (3GPP)", Color: "#1f6feb", X: x[0], Y: y[0]},
		{Name: "second path (non-3GPP)", Color: "#d9730d", X: x[1], Y: y[1]},
	}
	appears, slow := r.begun[1].Sub(r.begun[0]).Seconds(), r.begun[2].Sub(r.begun[0]).Seconds()
	p.Spans = []plot.Span{{From: slow, To: r.ended.Sub(r.begun[0]).Seconds()}}
	p.Marks = []plot.Mark{{X: appears, Label: "second path appears"}, {X: slow, Label: fmt.Sprintf("second path %v slower", c.Slow)}}
	return &plot.Chart{
		Title: "Load-Balancing, autonomous: a second path appears and becomes slow",
		Subtitle: fmt.Sprintf("after Figure 10 of FlexCP; Linux MPTCP in the UE, plain TCP nginx, GTP-U; %.0f Mbit/s and %v one way on each path; IP bytes",
			float64(c.Rate)/1e6, c.Delay),
		Panels: []plot.Panel{p},
	}
}
