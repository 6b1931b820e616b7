// Command braid is the operator's tool: a lab of network namespaces, a small
// SMF that speaks multi-access rules, the demo
// and the drawing of a figure.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

type cli struct {
	Demo     demoCmd     `cmd:"" help:"Run the main job on real input and judge it."`
	Figure10 figure10Cmd `cmd:"" name:"figure10" help:"Draw Figure 10 of the FlexCP paper from a run."`
	Lab      labCmd      `cmd:"" help:"A UE, two accesses, a UPF and a data network in network namespaces."`
	SMF      smfCmd      `cmd:"" name:"smf" help:"Install and keep multi-access sessions over PFCP."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c cli
	k := kong.Parse(&c,
		kong.Name("braid"),
		kong.Description("The operator's tool of the Braid user plane function."),
		kong.UsageOnError(),
		kong.BindTo(ctx, (*context.Context)(nil)))
	k.FatalIfErrorf(k.Run())
}
