"""HTTP: the CodeBuild API on the control socket, health on TCP. Edges: they ask `Control`, and decide nothing."""
