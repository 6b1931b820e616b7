// Package plot writes line charts as SVG 1.1: panels one above the other, each
// with axes, grid, units, a legend and event marks. One chart is one
// self-contained file without scripts, readable in a browser or a README.
//
// Left out: log scales, dates on the x axis, markers, more than one y axis.
package plot

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Chart is a picture: a title and panels from top to bottom.
type Chart struct {
	Title    string
	Subtitle string // a line under the title; may be empty
	Panels   []Panel
}

// Panel is one coordinate system. Its axes begin at 0 and end at a round value
// that holds every point; negative and non-finite values are an error.
type Panel struct {
	Title  string
	XLabel string // quantity and unit, as "time (s)"
	YLabel string
	Series []Series
	Spans  []Span
	Marks  []Mark
}

// Series is one line. len(X) == len(Y); X rises.
type Series struct {
	Name  string // in the legend
	Color string // SVG colour, as "#1f6feb"
	X, Y  []float64
}

// Mark is an event: a dashed vertical line at X with a label.
type Mark struct {
	X     float64
	Label string
}

// Span shades the time between two events, From <= To.
type Span struct{ From, To float64 }

// Geometry in SVG user units (pixels at scale 1).
const (
	width       = 960
	headHeight  = 74
	panelHeight = 330
	plotLeft    = 78
	plotRight   = width - 28
	plotTop     = 76  // below the panel's own top: title, legend, mark labels
	plotBottom  = 276 // below the panel's own top
	markRow     = 15  // height of one row of mark labels
	charWidth   = 6.3 // mean advance of a 12 px sans-serif letter
)

// WriteFile writes the chart to a file, replacing it whole or not at all, and
// makes the folder if it is not there.
func (c *Chart) WriteFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	defer os.Remove(f.Name()) // gone already after the rename
	err = c.Write(f)
	if errChmod := f.Chmod(0o644); err == nil {
		err = errChmod
	}
	if errClose := f.Close(); err == nil {
		err = errClose
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("plot: %s: %w", path, err)
	}
	return nil
}

// Write writes the chart as an SVG document. The error is the writer's, or says
// which series holds what cannot be drawn; then nothing was written.
func (c *Chart) Write(w io.Writer) error {
	for i := range c.Panels {
		if err := c.Panels[i].check(); err != nil {
			return fmt.Errorf("panel %d (%s): %w", i, c.Panels[i].Title, err)
		}
	}
	d := &drawing{w: bufio.NewWriter(w)}
	height := headHeight + panelHeight*len(c.Panels)
	d.printf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" `+
		`font-family="DejaVu Sans, Verdana, Helvetica, Arial, sans-serif" font-size="12" fill="#24292f">`+"\n",
		width, height, width, height)
	d.printf(`<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, height)
	d.text(plotLeft, 34, "start", `font-size="20" font-weight="bold"`, c.Title)
	d.text(plotLeft, 56, "start", `fill="#57606a"`, c.Subtitle)
	for i := range c.Panels {
		d.panel(&c.Panels[i], float64(headHeight+panelHeight*i))
	}
	d.printf("</svg>\n")
	return d.w.Flush()
}

func (p *Panel) check() error {
	for _, s := range p.Series {
		if len(s.X) != len(s.Y) {
			return fmt.Errorf("series %q: %d x values, %d y values", s.Name, len(s.X), len(s.Y))
		}
		for i := range s.X {
			if !drawable(s.X[i]) || !drawable(s.Y[i]) {
				return fmt.Errorf("series %q: point %d (%v, %v) cannot be drawn", s.Name, i, s.X[i], s.Y[i])
			}
		}
	}
	return nil
}

func drawable(v float64) bool { return v >= 0 && !math.IsInf(v, 1) } // false for NaN

// drawing is the output; bufio keeps its first error for Flush.
type drawing struct{ w *bufio.Writer }

func (d *drawing) printf(format string, args ...any) { fmt.Fprintf(d.w, format, args...) }

var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace

func (d *drawing) text(x, y float64, anchor, attrs, s string) {
	if s == "" {
		return
	}
	d.printf(`<text x="%.1f" y="%.1f" text-anchor="%s" %s>%s</text>`+"\n", x, y, anchor, attrs, escape(s))
}

func (d *drawing) line(x1, y1, x2, y2 float64, attrs string) {
	d.printf(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" %s/>`+"\n", x1, y1, x2, y2, attrs)
}

// frame maps a panel's values to the drawing.
type frame struct {
	top, bottom float64
	x, y        axis
}

func (f *frame) px(v float64) float64 {
	return plotLeft + min(v, f.x.max)/f.x.max*(plotRight-plotLeft)
}

func (f *frame) py(v float64) float64 {
	return f.bottom - min(v, f.y.max)/f.y.max*(f.bottom-f.top)
}

func (d *drawing) panel(p *Panel, top float64) {
	xmax, ymax := p.extent()
	f := &frame{top: top + plotTop, bottom: top + plotBottom, x: axis{max: xmax, step: roundStep(xmax, 12)}, y: roundAxis(ymax, 5)}
	d.text(plotLeft, top+22, "start", `font-size="15" font-weight="bold"`, p.Title)
	d.legend(p.Series, top+22)
	for _, s := range p.Spans {
		x := f.px(s.From)
		d.printf(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="#cf222e" fill-opacity="0.08"/>`+"\n",
			x, f.top, f.px(s.To)-x, f.bottom-f.top)
	}
	d.grid(p, f)
	for _, s := range p.Series {
		d.series(s, f)
	}
	d.marks(p.Marks, f)
}

// extent is the largest x and y; where there is nothing, 1.
func (p *Panel) extent() (x, y float64) {
	for _, s := range p.Series {
		for i := range s.X {
			x, y = max(x, s.X[i]), max(y, s.Y[i])
		}
	}
	for _, m := range p.Marks {
		x = max(x, m.X)
	}
	if x == 0 {
		x = 1
	}
	if y == 0 {
		y = 1
	}
	return x, y
}

func (d *drawing) grid(p *Panel, f *frame) {
	for i := 0; ; i++ {
		v := float64(i) * f.y.step
		if v > f.y.max*1.001 {
			break
		}
		d.line(plotLeft, f.py(v), plotRight, f.py(v), `stroke="#d8dee4"`)
		d.text(plotLeft-8, f.py(v)+4, "end", `fill="#57606a"`, format(v))
	}
	for i := 0; ; i++ {
		v := float64(i) * f.x.step
		if v > f.x.max*1.001 {
			break
		}
		d.line(f.px(v), f.bottom, f.px(v), f.bottom+5, `stroke="#57606a"`)
		d.text(f.px(v), f.bottom+19, "middle", `fill="#57606a"`, format(v))
	}
	d.line(plotLeft, f.bottom, plotRight, f.bottom, `stroke="#57606a"`)
	d.line(plotLeft, f.top, plotLeft, f.bottom, `stroke="#57606a"`)
	d.text((plotLeft+plotRight)/2, f.bottom+38, "middle", "", p.XLabel)
	y := (f.top + f.bottom) / 2
	d.text(22, y, "middle", fmt.Sprintf(`transform="rotate(-90 22 %.1f)"`, y), p.YLabel)
}

// legend stands right-aligned in one row, in the order of the series.
func (d *drawing) legend(series []Series, y float64) {
	x := float64(plotRight)
	for i := len(series) - 1; i >= 0; i-- {
		s := series[i]
		if s.Name == "" {
			continue
		}
		x -= textWidth(s.Name)
		d.text(x, y, "start", "", s.Name)
		d.line(x-30, y-4, x-8, y-4, fmt.Sprintf(`stroke="%s" stroke-width="3"`, escape(s.Color)))
		x -= 48
	}
}

func (d *drawing) series(s Series, f *frame) {
	if len(s.X) == 0 {
		return
	}
	d.printf(`<polyline fill="none" stroke="%s" stroke-width="2" stroke-linejoin="round" points="`, escape(s.Color))
	for i := range s.X {
		d.printf("%.1f,%.1f ", f.px(s.X[i]), f.py(s.Y[i]))
	}
	d.printf(`"/>` + "\n")
}

// marks draws each label in the lowest row above the plot where it touches no
// label drawn before it, to the left of its line if the right has no room.
func (d *drawing) marks(marks []Mark, f *frame) {
	var taken [3][][2]float64
	for _, m := range marks {
		x, w, anchor := f.px(m.X), textWidth(m.Label), "start"
		from := x + 4
		if from+w > plotRight {
			from, anchor = x-4-w, "end"
		}
		row := 0
		for row < len(taken)-1 && overlaps(taken[row], from, from+w) {
			row++
		}
		taken[row] = append(taken[row], [2]float64{from - 6, from + w + 6})
		y := f.top - 6 - float64(row*markRow)
		d.line(x, y-9, x, f.bottom, `stroke="#cf222e" stroke-width="1.2" stroke-dasharray="5 3"`)
		labelX := from
		if anchor == "end" {
			labelX = x - 4
		}
		d.text(labelX, y, anchor, `fill="#a40e26"`, m.Label)
	}
}

func overlaps(taken [][2]float64, from, to float64) bool {
	for _, t := range taken {
		if from < t[1] && t[0] < to {
			return true
		}
	}
	return false
}

func textWidth(s string) float64 { return charWidth * float64(utf8.RuneCountInString(s)) }

// axis goes from 0 to max, a tick at every multiple of step.
type axis struct{ max, step float64 }

// roundAxis is the axis of about n steps that ends on a tick at or above top > 0.
func roundAxis(top float64, n int) axis {
	step := roundStep(top, n)
	return axis{max: step * math.Ceil(top/step-1e-9), step: step}
}

// roundStep is 1, 2 or 5 times a power of ten, such that at most n steps reach top.
func roundStep(top float64, n int) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(top/float64(n))))
	for _, m := range []float64{1, 2, 5} {
		if top/(m*unit) <= float64(n) {
			return m * unit
		}
	}
	return 10 * unit
}

func format(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }
