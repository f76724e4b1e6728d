"""The listening report: sweep folders in, a page with players, curves and tables out.

`loading` reads sweeps, `conditions` says which clips belong to one curve, `statistics` and `curves` compute
the curves, `command_line` spells a clip's settings, `audio` encodes clips, `facts` and `page` put the page
together, `output` puts it in its place. The page's own parts are in `templates/`.
"""
