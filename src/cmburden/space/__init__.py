"""Where a voxel lies in the head: ANTs, transforms, template, atlas, MARS regions."""
