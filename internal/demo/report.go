package demo

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/internal/mptcpclient"
	"github.com/braid-upf/braid/internal/plot"
)

// report writes the plot and the table. Its error is ErrFailed with the faults, if
// there are any.
func (d *demo) report() error {
	if err := d.chart().WriteFile(d.cfg.Plot); err != nil {
		return err
	}
	d.table()
	var faults []string
	for _, g := range d.legs {
		faults = append(faults, g.faults...)
	}
	if faults != nil {
		return fmt.Errorf("%w: %s", ErrFailed, strings.Join(faults, "; "))
	}
	return nil
}

func (d *demo) table() {
	w := tabwriter.NewWriter(d.cfg.Out, 0, 0, 3, ' ', 0)
	row := func(name string, cell func(g *leg) string) {
		fmt.Fprint(w, name)
		for _, g := range d.legs {
			fmt.Fprint(w, "\t", cell(g))
		}
		fmt.Fprintln(w)
	}
	row("", func(g *leg) string { return g.name })
	row("payload", func(g *leg) string {
		t := g.ended.Sub(g.begun).Seconds()
		return fmt.Sprintf("%.1f MB in %.1f s", float64(d.cfg.Size)/1e6, t)
	})
	row("SHA-256 sent", func(*leg) string { return short(d.sum) })
	row("SHA-256 arrived", func(g *leg) string { return short(g.sum) })
	for a := range steer.Access(steer.NumAccesses) {
		row(a.String()+" carried", func(g *leg) string {
			return fmt.Sprintf("%.1f MB down, %.1f MB up",
				float64(g.load.carried(a, lab.DirectionDown))/1e6, float64(g.load.carried(a, lab.DirectionUp))/1e6)
		})
	}
	row("access killed", func(g *leg) string {
		if g.killedAt.IsZero() {
			return "none"
		}
		return fmt.Sprintf("%v, from %.1f s to %.1f s", g.killed, g.killedAt.Sub(g.begun).Seconds(), g.backAt.Sub(g.begun).Seconds())
	})
	row("switch took", func(g *leg) string {
		return fmt.Sprintf("%s (longest silence %s)", milliseconds(g.switchTook), milliseconds(g.silence))
	})
	row("used again after", func(g *leg) string { return milliseconds(g.returned) })
	row("retransmitted", func(g *leg) string { return fmt.Sprintf("%.2f MB", float64(g.retransmitted)/1e6) })
	w.Flush()                                                                                                                       // the demo's output is the terminal
	fmt.Fprintf(d.cfg.Out, "kernel counters that must not move: %d checked after each transfer\n", mptcpclient.CheckedCounters()-1) // all but ServerReneging
	fmt.Fprintf(d.cfg.Out, "throughput of each access over time: %s\n", d.cfg.Plot)
}

func short(sum string) string {
	if len(sum) < 16 {
		return "none"
	}
	return sum[:16] + "..."
}

func milliseconds(t time.Duration) string {
	if t == 0 {
		return "-"
	}
	return fmt.Sprintf("%d ms", t.Milliseconds())
}

// display is the name of each access in a picture.
var display = [steer.NumAccesses]string{steer.Access3GPP: "3GPP access", steer.AccessNon3GPP: "non-3GPP access"}

// plotSpan is the time that a point of the plot stands for.
const plotSpan = 200 * time.Millisecond

func (d *demo) chart() *plot.Chart {
	c := &plot.Chart{
		Title:    "One MPTCP connection over two accesses",
		Subtitle: "Linux MPTCP in the UE, plain TCP nginx in the data network, GTP-U on both accesses; IP bytes per access",
	}
	for _, g := range d.legs {
		p := plot.Panel{
			Title:  fmt.Sprintf("%s%s, %.0f MB", strings.ToUpper(g.name[:1]), g.name[1:], float64(d.cfg.Size)/1e6),
			XLabel: "time (s)", YLabel: "throughput (Mbit/s)",
		}
		for a, color := range [steer.NumAccesses]string{steer.Access3GPP: "#1f6feb", steer.AccessNon3GPP: "#d9730d"} {
			x, y := g.load.series(steer.Access(a), g.direction, g.begun, plotSpan)
			p.Series = append(p.Series, plot.Series{Name: display[a], Color: color, X: x, Y: y})
		}
		if !g.killedAt.IsZero() {
			from, to := g.killedAt.Sub(g.begun).Seconds(), g.backAt.Sub(g.begun).Seconds()
			p.Spans = []plot.Span{{From: from, To: to}}
			p.Marks = []plot.Mark{{X: from, Label: display[g.killed] + " killed"}, {X: to, Label: display[g.killed] + " back"}}
		}
		c.Panels = append(c.Panels, p)
	}
	return c
}
